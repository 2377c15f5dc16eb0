"""`bench run --attacks all` on tasks of 2, 3, 4 and 11 classes, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchharness import cli, registry
from benchharness.store.cells import CONTROL_FAMILY, TRANSFER_FAMILY
from benchharness.store.folder import Store
from tests import attacked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FEW = """
[attack.square3d]
queries = 60
[attack.square3d_l2]
queries = 60
[attack.autoattack3d]
steps = 10
queries = 60
"""
LEFT_OUT = {2: {"apgd_dlr", "apgd_t"}, 3: {"apgd_t"}, 4: set(), 11: set()}
"""Attacks whose loss needs more classes."""


@pytest.mark.parametrize("classes", [2, 3, 4, 11])
def test_the_whole_suite_runs_and_autoattack_is_the_strongest_of_its_parts(
    classes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    attacked.save_task(tmp_path, {"train": 22, "val": 22, "test": 44}, classes)
    (tmp_path / "bench.toml").write_text(FEW)
    models = ("tests.attacked:honest", "tests.attacked:other")
    command = [
        *("bench", "run", "--models", ",".join(models), "--datasets", "data.npz"),
        *("--attacks", "all", "--limit", "8", "--eps", "2/255,8/255", "--counts", "2,4"),
        *("--checkpoint", "honest=weights.pth", "--checkpoint", "other=weights.pth"),
        *("--config", "bench.toml", "--device", "cpu", "--out", "out"),
    ]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code in (0, None), said.err + said.out
    records = list(Store(tmp_path / "out").records().values())
    assert {record.status for record in records} == {"ok"}
    names = {
        record.cell.perturbation.name
        for record in records
        if record.cell.perturbation.family != CONTROL_FAMILY
    }
    assert names - {"none"} == set(registry.GROUPS["attacks"]["all"]) - LEFT_OUT[classes]
    for name in LEFT_OUT[classes]:
        assert f"{name} left out on data: " in said.out
    transfers = [r for r in records if r.cell.perturbation.family == TRANSFER_FAMILY]
    assert len(transfers) == 2 * 2 * 2
    for model in ("honest", "other"):
        for eps in (2 / 255, 8 / 255):
            left = {
                record.cell.perturbation.name: record.metrics["accuracy"]
                for record in records
                if record.cell.model.name == model
                and record.cell.perturbation.severity == eps
                and record.cell.perturbation.family == "linf"
            }
            parts = {"square3d", "apgd_ce"} | (
                {"apgd_t", "fab"} if classes >= 4 else {"pgd", "apgd_margin", "fab"}
            )
            assert left["autoattack3d"] <= min(left[part] for part in parts) + 1 / 8
