"""What the documentation tells a person to type exists and runs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import typer

from benchharness import cli
from benchharness.artefacts import Artefact
from benchharness.cli.options import spelling
from benchharness.datasets import Dataset
from tests.dicom_data import write_series
from tests.docs import diagrams
from tests.own_data import scene, write_nifti, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = tuple(
    (split, label) for split in ("train", "val", "test") for label in ("benign", "malignant")
)
PAGES = [diagrams.ROOT / "README.md", *sorted(diagrams.DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every `bench …` of a page, in a block of code or in a line of text."""
    text = page.read_text(encoding="utf-8")
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("bench "):
                yield shlex.split(line, comments=True)
    for inline in re.findall(r"`(bench [^`]+)`", FENCE.sub("", text)):
        yield inline.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_flags(page: Path) -> None:
    for _, *words in commands(page):
        command = typer.main.get_command(cli.app)
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            if words[0].isupper():  # `bench COMMAND --help`
                break
            name = words.pop(0).rstrip(",")
            if name not in command.commands and hasattr(command, "usual"):
                command = command.commands[command.usual]  # `bench evidence RUN`
                continue
            assert name in command.commands, f"bench has no {name!r}"
            command = command.commands[name]
        known = {"--help", *(flag for one in command.params for flag in one.opts)}
        unknown = {f"--{spelling(word[2:])}" for word in words if word.startswith("--")} - known
        assert not unknown, f"{command.name} has no {unknown}"


def test_there_are_commands_to_check() -> None:
    assert len([words for page in PAGES for words in commands(page)]) > 40


def python_blocks(page: str) -> list[ModuleType]:
    """Modules made of a page's Python examples."""
    text = (diagrams.DOCS / page).read_text(encoding="utf-8")
    modules = []
    for number, (language, block) in enumerate(FENCE.findall(text)):
        if language == "python" and "results/first" not in block:
            module = ModuleType(f"example_{number}")
            sys.modules[module.__name__] = module
            try:
                exec(compile(block, page, "exec"), module.__dict__)
            finally:
                del sys.modules[module.__name__]
            modules.append(module)
    return modules


def test_the_network_of_the_tutorial() -> None:
    (module,) = python_blocks("tutorial.md")
    assert module.small_cnn(3, in_channels=2)(torch.rand(2, 2, 28, 28, 28)).shape == (2, 3)


def test_the_dataset_and_the_artefact_of_the_plug_in_guide() -> None:
    dataset, artefact = python_blocks("how-to/plug-ins.md")
    slabs = dataset.slabs(None)
    assert isinstance(slabs, Dataset)
    assert slabs.test.volumes.shape == (32, 1, 16, 16, 16)
    fade = artefact.Fade()
    assert isinstance(fade, Artefact)
    volume = torch.as_tensor(slabs.test.volumes[0], dtype=torch.float32) / 255
    faded = fade.apply(volume, 5, torch.Generator())
    assert torch.allclose(faded, volume / 2)


def test_the_python_examples_of_the_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tmp_path / "results" / "quickstart"
    store.parent.mkdir()
    store.symlink_to(diagrams.ROOT / "results" / "quickstart")
    monkeypatch.chdir(tmp_path)
    # Any network does; this one costs next to nothing at 28³.
    coarse = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool3d(4), torch.nn.Flatten(), torch.nn.Linear(64, 4)
    )
    space: dict[str, Any] = {
        "net": coarse,
        "volumes": torch.rand(2, 1, 8, 8, 8),
        "labels": torch.tensor([0, 3]),
    }
    text = (diagrams.ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block for language, block in FENCE.findall(text) if language == "python"]
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), space)
    assert list(space["result"].frame()["perturbation"]) == ["clean", "pgd", *["motion"] * 5]
    assert Path("motion.pdf").stat().st_size > 1000
    assert space["verdict"].verdict == "worse"
    assert space["adversarial"].logits.shape == (2, 4)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(diagrams.DOCS / "notebook.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=900, resources=place).execute()
    shown = [
        set(output["data"])
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert next(kind for kind in shown if "text/html" in kind) == {"text/plain", "text/html"}
    assert {"text/plain", "image/png"} in shown
    assert {"text/plain", "text/markdown"} in shown
    assert (tmp_path / "results" / "notebook" / "report" / "report.html").is_file()


def test_the_example_of_the_models_page() -> None:
    (module,) = python_blocks("reference/models.md")
    assert module.network(torch.rand(2, 1, 28, 28, 28)).shape == (2, 2)


def test_the_example_of_the_records_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(diagrams.ROOT)
    (module,) = python_blocks("reference/python/records.md")
    assert sorted(module.clean["model"]) == ["medvit3d_t", "resnet3d_18"]


def test_the_example_of_the_dicom_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, (split, label) in enumerate(PARTS):
        values, affine = scene((3, 3, 3), (number, 0, 0))
        folder = tmp_path / "lesions" / split / label / f"P{number}" / "ct"
        write_series(folder, (values - 200).astype(np.int16), affine)
    monkeypatch.chdir(tmp_path)
    (module,) = python_blocks("how-to/dicom.md")
    assert (module.found.modality, module.found.grid) == ("ct", (16, 16, 16))
    assert module.found.test.patients == ("P4", "P5")


def test_the_example_of_the_page_on_sequences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = []
    for number, (split, label) in enumerate(PARTS):
        for name in ("t1", "flair"):
            values, affine = scene((3, 3, 3), (number, 0, 3 * (name == "t1")))
            write_nifti(tmp_path / f"{name}-{number}.nii", values, affine)
        rows.append((f"t1-{number}.nii", f"flair-{number}.nii", label, split))
    write_table(tmp_path, rows, "t1,flair,label,split").rename(tmp_path / "scans.csv")
    monkeypatch.chdir(tmp_path)
    (module,) = python_blocks("how-to/several-sequences.md")
    assert module.found.in_channels == 2
    assert module.found.classes == ("benign", "malignant")
