"""`bench run --train-on …` from the command line to the report and the comparison."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from benchharness.store.folder import Store
from benchharness.training import recipes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Bench = Callable[..., tuple[int, str, str]]

RUN = (
    *("--models", "tests.samples:tiny", "--device", "cpu"),
    *("--datasets", "tests.sources:dark", "--train-on", "tests.sources:bright"),
    *("--adapt", "none,adabn", "--recipes", "quick"),
)


@pytest.fixture(autouse=True)
def short_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("quick", "finetune", "scratch"):
        short = dataclasses.replace(recipes.find(name), epochs=2, least_steps=0)
        monkeypatch.setitem(recipes.RECIPES, name, short)


@pytest.mark.slow
def test_from_the_command_to_the_comparison(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, _ = bench("train", *RUN, "--out", out)
    assert code == 0
    # The source, and its statistics on the target.
    assert "2 checkpoints trained" in said
    code, said, _ = bench("run", *RUN, "--limit", "8", "--out", out)
    assert code == 0
    assert "0 checkpoints trained" in said
    names = {record.cell.checkpoint.recipe_name for record in Store(out).records().values()}
    assert names == {"quick", "adabn"}
    code, said, _ = bench(
        *("compare", out, "--base-model", "tiny from bright"),
        *("--new-model", "tiny from bright by adabn"),
    )
    assert code in (0, 1)
    assert "tiny from bright by adabn against tiny from bright" in said


@pytest.mark.slow
def test_the_report_has_sources_and_targets(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ("--train-on", "tests.sources:bright,none", "--shots", "0,16")
    code, _, _ = bench("run", *RUN, *few, "--out", out)
    assert code == 0
    code, _, _ = bench("report", out)
    assert code == 0
    page = (out / "report" / "summary.md").read_text()
    assert "## Across datasets" in page
    assert "Sources and targets: tiny, quick" in page
    assert "Against scratch on dark" in page


def test_labels_that_do_not_correspond_are_one_line(bench: Bench, tmp_path: Path) -> None:
    source = ("--train-on", "tests.sources:other", "--adapt", "none")
    code, _, said = bench("run", *RUN, *source, "--out", tmp_path / "out")
    assert code == 2
    assert "labels do not correspond; with --shots K the head is trained anew" in " ".join(
        said.split()
    )
