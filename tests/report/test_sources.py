"""Tables and curves of networks that were trained on one dataset and judged on another."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from benchharness.report.collect import collect
from benchharness.report.plots import shots as plots
from benchharness.report.plots.canvas import drawn
from benchharness.report.scoring.carried import counts, stands
from benchharness.report.sections import sections
from benchharness.report.tables import sources
from benchharness.store import carried
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings
    from benchharness.report.tables.layout import Table

pytestmark = pytest.mark.usefixtures("undrawn")


def come(source: str, correct: float, *, seed: int = 0, **how: Any) -> Made:
    settings = carried.settings(source, "" if source == "none" else f"sha256:{source}", **how)
    recipe = "quick"
    if how.get("shots"):
        recipe = "scratch" if source == "none" else "finetune"
    return Made(
        recipe=recipe,
        settings=settings,
        weights=f"{source}{sorted(how.items())}{seed}",
        correct=correct,
        seed=seed,
    )


ZERO = (
    come("ct", 0.4),
    come("ct", 0.5, adapt="coral"),
    come("xray", 0.3),
    Made(correct=0.9, weights="own"),
)
FEW = tuple(
    come(source, correct, seed=seed, shots=shots, **how)
    for seed in (0, 1, 2)
    for source, shots, correct, how in (
        ("ct", 16, 0.8, {"recipe": "quick"}),
        ("ct", "all", 0.9, {"recipe": "quick"}),
        ("lungs", 16, 0.5, {"recipe": "quick", "differ": True}),
        ("none", 16, 0.5, {}),
        ("none", "all", 0.85, {}),
    )
)


def found(folder: Path, *cells: Made) -> Findings:
    return collect(store_of(folder, cells).directory)


def shown(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def test_sources_and_targets_between_the_bounds(tmp_path: Path) -> None:
    table, _ = sources.tables(found(tmp_path, *ZERO))
    rows = shown(table)
    assert [row[:3] for row in rows] == [
        ["ct", "none", "source val"],
        ["ct", "coral", "source val"],
        ["xray", "none", "source val"],
        ["its own labels", "", "its val"],
    ]
    assert [head.partition(",")[0] for head in table.header[3:]] == ["AUC", "Accuracy", "PR-AUC"]
    accuracies = [float(row[4].partition(" ")[0]) for row in rows]
    assert accuracies == pytest.approx([0.4, 0.5, 0.3, 0.9], abs=0.1)
    assert "Chance gives a PR-AUC of the prevalence" in table.caption
    assert "Weights were chosen on the source's val split." in table.caption
    assert "target's val split" not in table.caption


def test_a_table_says_where_target_labels_chose_the_weights(tmp_path: Path) -> None:
    cells = (*ZERO, come("ct", 0.6, select="target_val"))
    table, _ = sources.tables(found(tmp_path, *cells))
    assert ["ct", "none", "target val"] in [row[:3] for row in shown(table)]
    assert "chosen on the target's val split: its labels were read" in table.caption


def test_methods_and_own_labels_against_no_adaptation(tmp_path: Path) -> None:
    _, against = sources.tables(found(tmp_path, *ZERO))
    tests = {tuple(row[:4]): row for row in shown(against)}
    assert {names[:3] for names in tests} == {
        ("ct", "coral", "ct, none"),
        ("its own labels", "", "ct, none"),
        ("its own labels", "", "xray, none"),
    }
    gain = tests["its own labels", "", "xray, none", "accuracy"]
    assert float(gain[4]) == pytest.approx(0.6, abs=0.1)
    assert float(gain[6]) < 0.05


def test_methods_are_compared_with_weights_that_were_chosen_alike(tmp_path: Path) -> None:
    cells = (
        come("ct", 0.4),
        come("ct", 0.6, select="target_val"),
        come("ct", 0.5, select="target_val", adapt="coral"),
    )
    (_, against) = sources.tables(found(tmp_path, *cells))
    (gain, *_) = [row for row in shown(against) if row[3] == "accuracy"]
    assert float(gain[4]) == pytest.approx(-0.1, abs=0.05)
    assert len(against.rows) == 2


def test_all_labels_are_compared_with_its_own_where_scratch_was_not_measured(
    tmp_path: Path,
) -> None:
    cells = [one for one in FEW if not (one.recipe == "scratch" and one.correct == 0.85)]
    own = [Made(correct=0.6, weights=f"own{seed}", seed=seed) for seed in (0, 1, 2)]
    few, against = sources.tables(found(tmp_path, *cells, *own))
    rows = {row[0]: row for row in shown(few)}
    assert rows["its own labels"][:3] == ["its own labels", "quick", "its val"]
    assert rows["its own labels"][5] == "–"
    assert float(rows["its own labels"][6].partition(" ")[0]) == pytest.approx(0.6, abs=0.05)
    tests = {(row[0], row[2], row[4]): row for row in shown(against)}
    assert tests["ct", "16", "accuracy"][3] == "scratch"
    assert tests["ct", "all", "accuracy"][3] == "its own labels"
    assert float(tests["ct", "all", "accuracy"][5]) == pytest.approx(0.3, abs=0.05)


def test_networks_are_compared_where_they_came_the_same_way(tmp_path: Path) -> None:
    cells = [
        dataclasses.replace(one, model=model, correct=one.correct - less, weights=f"{model}{at}")
        for model, less in (("resnet3d_18", 0.0), ("medvit3d_n", 0.3))
        for at, one in enumerate(ZERO if model == "medvit3d_n" else ZERO[1:])
    ]
    *_, between = sources.tables(found(tmp_path, *cells))
    assert between.title.startswith("medvit3d_n against resnet3d_18 on ") or (
        between.title.startswith("resnet3d_18 against medvit3d_n on ")
    )
    sign = -1 if between.title.startswith("medvit3d_n") else 1
    tests = {(row[0], row[3]): row for row in shown(between)}
    ways = ("ct by coral", "xray", "its own labels")
    assert set(tests) == {(way, metric) for way in ways for metric in ("auc", "accuracy")}
    gain = tests["its own labels", "accuracy"]
    assert sign * float(gain[4]) == pytest.approx(0.3, abs=0.1)
    assert float(gain[6]) < 0.05


def test_few_labels_against_scratch(tmp_path: Path) -> None:
    few, against = sources.tables(found(tmp_path, *FEW))
    rows = {row[0]: row for row in shown(few)}
    assert few.header[3:] == ("AUC, 16", "AUC, all", "Accuracy, 16", "Accuracy, all")
    assert rows["lungs"][6] == "–"
    assert float(rows["ct"][5].partition(" ")[0]) == pytest.approx(0.8, abs=0.05)
    for table in (few, against):
        assert "lungs: labels do not correspond; read as few-shot pre-training only" in (
            table.caption
        )
    tests = {(row[0], row[2], row[4]): row for row in shown(against)}
    assert {row[3] for row in tests.values()} == {"scratch"}
    assert set(tests) == {
        (arm, shots, metric)
        for arm, shots in (("ct", "16"), ("ct", "all"), ("lungs", "16"))
        for metric in ("auc", "accuracy")
    }
    assert float(tests["ct", "16", "accuracy"][5]) == pytest.approx(0.3, abs=0.05)
    assert float(tests["ct", "16", "accuracy"][7]) < 0.05
    assert float(tests["lungs", "16", "accuracy"][7]) > 0.05


def test_curves_have_a_point_for_each_number_of_shots(tmp_path: Path) -> None:
    findings = found(tmp_path, *FEW)
    (chart,) = plots.curves(findings)
    assert chart.title.startswith("AUC over labelled volumes of ")
    few = [one for one in stands(findings, findings.datasets[0]) if one.carried]
    assert {own.model for own in chart.looks} == {"ct", "lungs", "scratch"}
    places = [mark.x for mark in chart.panels[0].marks if mark.model == "ct"]
    assert places == [0.0, 1.0]
    assert len(drawn(chart).axes) == len(chart.panels)
    assert counts(few) == [16, "all"]


def test_its_own_labels_are_a_point_of_the_curves_and_every_line_has_a_colour(
    tmp_path: Path,
) -> None:
    (chart,) = plots.curves(found(tmp_path, *FEW, Made(correct=0.9, weights="own")))
    assert [own.model for own in chart.looks][-1] == "its own labels"
    assert [mark.x for mark in chart.panels[0].marks if mark.model == "its own labels"] == [1.0]
    assert len({own.colour for own in chart.looks}) == len(chart.looks)


def test_a_store_without_sources_has_no_such_section(tmp_path: Path) -> None:
    plain = found(tmp_path / "plain", Made())
    assert list(sources.tables(plain)) == []
    assert "Across datasets" not in [section.title for section in sections(plain)]
    both = found(tmp_path / "both", *ZERO)
    assert "Across datasets" in [section.title for section in sections(both)]
