"""What a name of the command line stands for is what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchharness.errors import BenchError
from benchharness.run import config, runner
from benchharness.run.planning import plan
from benchharness.store.folder import Store
from tests import samples
from tests.run.test_progress import display

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = "tests.plugin.acme_bench"


def settings(folder: Path, **flags: Any) -> config.RunConfig:
    data = samples.write_archive(folder / "data.npz")
    given = {"models": "tests.samples:tiny", "datasets": str(data), "device": "cpu"}
    return config.load(None, given | {"recipes": "quick", "out": folder / "out"} | flags)


def test_a_perturbation_typed_as_an_import_string_is_applied(tmp_path: Path) -> None:
    """Its cells have the class's own name, under which the runner must find it again."""
    asked = settings(
        tmp_path,
        attacks=f"{PLUGIN}:Noise",
        artefacts=f"{PLUGIN}:Fade",
        eps="0.5",
        severities="5",
        limit=4,
    )
    planned = plan(asked)
    assert {cell.perturbation.name for cell in planned.cells} - {"none"} <= set(
        planned.perturbations
    )
    runner.run(asked, display()[0])
    store = Store(tmp_path / "out")
    found = {record.cell.perturbation.name: record for record in store.records().values()}
    clean = store.predictions(found["none"]).logits
    for name in ("acme_noise", "acme_fade"):
        assert abs(store.predictions(found[name]).logits - clean).max() > 0, name
    assert found["acme_noise"].certificate


@pytest.mark.parametrize(
    "flags",
    [
        {"attacks": "pgd,benchharness.attacks.pgd:PGD"},
        {"artefacts": "blur,benchharness.artefacts.general:Blur"},
        {"attacks": "benchharness.attacks.full_range:FullRange"},
    ],
)
def test_two_perturbations_of_one_name_are_refused(tmp_path: Path, flags: dict[str, str]) -> None:
    with pytest.raises(BenchError, match=r"are both called '(pgd|blur|full_range)'"):
        plan(settings(tmp_path, **flags))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A file named in another encoding than the system's; no report could show its name."""
    data = samples.write_archive(tmp_path / "caf\udce9.npz")
    with pytest.raises(BenchError, match=r"is no text in this system's encoding"):
        plan(settings(tmp_path, datasets=str(data)))


@pytest.mark.parametrize("folder", ["x" * 200, "é" * 90])
def test_a_name_from_which_no_folder_can_be_made_is_refused(tmp_path: Path, folder: str) -> None:
    data = samples.write_archive(tmp_path / f"{folder}.npz")
    with pytest.raises(BenchError, match=r"the dataset name .* bytes"):
        plan(settings(tmp_path, datasets=str(data)))
    long = "net" * 60
    setattr(samples, long, samples.tiny)
    try:
        with pytest.raises(BenchError, match=r"the model name 'netnet.* has 180 bytes"):
            plan(settings(tmp_path, models=f"tests.samples:{long}"))
    finally:
        delattr(samples, long)
