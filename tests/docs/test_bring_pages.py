"""The commands of the pages on weights and models of one's own, carried out up to the plan."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchharness.run import runner
from benchharness.run.planning import plan
from benchharness.run.summary import Summary
from tests import samples
from tests.docs import diagrams
from tests.docs.test_examples import commands, python_blocks
from tests.networks.formats.files import prefixed
from tests.networks.formats.test_sources import DENSE, QUIET, bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.run.planning import Plan

    Bench = Callable[..., tuple[int, str, str]]

CLASSES = 4
"""Of `phantom3d`, on which commands without `--datasets` run."""

PAGES = (
    pytest.param("own-weights", marks=pytest.mark.slow),
    "onnx",
    "monai-bundle",
    "lightning",
)
ELSEWHERE = {"adrenalmnist3d", "my_net:small_cnn --seeds 0,1,2"}
"""In commands that train: on data that is downloaded, or by a recipe alone."""

NETWORK = """
from tests.samples import tiny

def small_cnn(num_classes, in_channels=1):
    return tiny(num_classes, in_channels)
"""


def write_files(folder: Path, page: str) -> None:
    """Everything that a page names."""
    from monai.networks.nets import DenseNet121

    (folder / "my_net.py").write_text(NETWORK)
    state = samples.tiny(CLASSES).state_dict()
    torch.save(state, folder / "weights.pt")
    lightning = {"state_dict": prefixed(state, "model."), "epoch": 9}
    torch.save(lightning, folder / "epoch=9-step=400.ckpt")
    lightning["state_dict"]["own_head.weight"] = torch.ones(2)
    torch.save(lightning, folder / "w.ckpt")
    copies = {"student": prefixed(state, "module."), "teacher": prefixed(state, "backbone.")}
    torch.save(copies, folder / "dino.pt")
    if page == "own-weights":
        torch.save(DenseNet121(3, 1, CLASSES).state_dict(), folder / "w.pt")
    samples.write_archive(folder / "mine.npz")
    bundle(folder / "lung_bundle", DENSE | {"in_channels": 1})
    with (folder / "scans.csv").open("w", newline="") as stream:
        ramp = np.arange(729, dtype=np.float32).reshape(9, 9, 9)
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "split"))
        for number in range(12):
            np.save(folder / f"{number}.npy", ramp * (number + 1))
            split = ("train", "val", "test")[number // 4]
            writer.writerow((f"{number}.npy", number % 2, split))


@pytest.fixture
def planned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[list[str]], Plan]:
    """Type a command; what it would run comes back, and nothing is run."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    made: list[Plan] = []

    def run(config: Any, _: object) -> Summary:
        made.append(plan(config))
        return Summary(evaluated=0, recorded=0, trained=0, failures=())

    monkeypatch.setattr(runner, "run", run)

    def typed(words: list[str]) -> Plan:
        code, said, error = bench(*words)
        assert (code, error) == (0, ""), said
        return made.pop()

    return typed


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(
    page: str, planned: Callable[[list[str]], Plan], tmp_path: Path
) -> None:
    write_files(tmp_path, page)
    typed = [
        words[1:]
        for words in commands(diagrams.DOCS / "how-to" / f"{page}.md")
        if not any(name in " ".join(words) for name in ELSEWHERE)
    ]
    assert typed
    for words in typed:
        if page == "onnx":
            (module,) = python_blocks("how-to/onnx.md")
            pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
            pytest.importorskip("onnxscript", reason="onnxscript, which exports, is not installed")
            module.export(samples.tiny(2), 12, tmp_path / "model.onnx")  # type: ignore[attr-defined]
        found = planned(words)
        assert all(job.weights.recipe is None and not job.weights.broken for job in found.jobs)
        assert all(job.weights.reading for job in found.jobs)


def test_the_factory_of_the_lightning_page() -> None:
    (module,) = python_blocks("how-to/lightning.md")
    made = module.from_hyperparameters(3, in_channels=2, width=4)  # type: ignore[attr-defined]
    assert made(torch.rand(2, 2, 8, 8, 8)).shape == (2, 3)
