"""Two trainings that give the same weights, bit for bit: each has its cells, row and seeds."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from benchharness.comparison import Settings, compare
from benchharness.report.collect import collect
from benchharness.report.formats import markdown
from benchharness.report.tables.summaries import overview
from benchharness.run import config, runner
from benchharness.run.progress import Display
from benchharness.store import baseline
from benchharness.store.folder import Store
from benchharness.store.merging import merge
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.summary import Summary

RECIPES = {
    "best": {"base": "quick", "epochs": 1},
    "last": {"base": "quick", "epochs": 1, "keep": "last"},
}
"""Of one epoch, the best is the last."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_archive(tmp_path_factory.mktemp("data") / "data.npz")


def run(data: Path, out: Path, **flags: Any) -> tuple[Summary, str]:
    own = {"models": "tests.samples:tiny", "datasets": str(data), "device": "cpu", "out": out}
    own |= {"limit": 6, "recipes": "best,last", "attacks": "fgsm", "eps": "8/255"} | flags
    own["recipe"] = {name: RECIPES[name] for name in (own["recipes"] or "").split(",") if name}
    said = io.StringIO()
    asked = config.load(None, own)
    return runner.run(asked, Display(Console(file=said, width=500))), said.getvalue()


def rows(path: Path) -> dict[tuple[str | None, int | None], int]:
    """How many cells each training has."""
    found: dict[tuple[str | None, int | None], int] = {}
    for record in Store(path).records().values():
        key = (record.cell.checkpoint.recipe_name, record.cell.checkpoint.seed)
        found[key] = found.get(key, 0) + 1
    return found


def test_each_of_two_recipes_has_all_its_seeds(data: Path, tmp_path: Path) -> None:
    summary, said = run(data, tmp_path, seeds="0,1")
    assert summary.failures == ()
    found = rows(tmp_path)
    assert found == dict.fromkeys(
        [(recipe, seed) for recipe in ("best", "last") for seed in (0, 1)], found["best", 0]
    )
    assert len({r.cell.checkpoint.sha256 for r in Store(tmp_path).records().values()}) == 2
    assert said.count("bit for bit: both are measured") == 2
    findings = collect(tmp_path)
    table = overview(findings, findings.datasets[0], each_seed=False)
    for recipe in RECIPES:
        assert f"{recipe} (2 seeds)" in markdown.table(table)
    metrics: dict[tuple[int | None, str], list[object]] = {}
    for record in Store(tmp_path).records().values():
        cell = record.cell
        key = (cell.checkpoint.seed, cell.perturbation.name)
        metrics.setdefault(key, []).append(record.metrics)
    assert all(first == second for first, second in metrics.values())


def test_what_is_recorded_of_both_is_not_run_again(data: Path, tmp_path: Path) -> None:
    first, _ = run(data, tmp_path)
    for recipes in ("best,last", "last,best", "last", "best"):
        again, _ = run(data, tmp_path, recipes=recipes)
        assert (again.evaluated, again.trained) == (0, 0)
    assert first.evaluated == sum(rows(tmp_path).values())


@pytest.mark.parametrize("order", [("best", "last"), ("last", "best")])
def test_runs_one_after_the_other_give_both(
    data: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    for recipe in order:
        summary, _ = run(data, tmp_path, recipes=recipe)
        assert summary.evaluated > 0
    again, _ = run(data, tmp_path)
    assert again.evaluated == 0
    assert set(rows(tmp_path)) == {("best", 0), ("last", 0)}


def test_weights_that_the_user_brought_stand_beside_those_that_were_trained(
    data: Path, tmp_path: Path
) -> None:
    run(data, tmp_path, recipes="best")
    (weights,) = tmp_path.glob("checkpoints/data/*/model.safetensors")
    summary, _ = run(data, tmp_path, checkpoint=f"tiny={weights}", recipes=None)
    assert summary.failures == ()
    found = rows(tmp_path)
    assert found["best", 0] == found[None, None]


def test_they_go_through_workers_baselines_merges_and_comparisons(
    data: Path, tmp_path: Path
) -> None:
    run(data, tmp_path / "out", seeds="0,1", workers=2)
    packed = tmp_path / "packed.zip"
    baseline.save(Store(tmp_path / "out"), packed)
    merge([packed], tmp_path / "merged")
    assert rows(tmp_path / "merged") == rows(tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 4
    store = Store(tmp_path / "out")
    result = compare(store, store, Settings(base_recipe="best", new_recipe="last"))
    assert result.verdict == "indistinguishable"
