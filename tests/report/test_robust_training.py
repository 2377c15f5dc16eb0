"""What training bought, as tables and as a plot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness.report.choice import EVERYTHING
from benchharness.report.collect import collect
from benchharness.report.dataset import section
from benchharness.report.plots import tradeoff
from benchharness.report.tables import training
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings

EPS = 4 / 255
ADV = Made(
    recipe="adv_pgd",
    settings={"eps": EPS, "steps": 7, "selection_steps": 10},
    weights="adv",
    correct=0.7,
)
SAW = Made(
    recipe="artefact_augment",
    settings={"artefacts": ("motion",), "artefact_levels": (1,), "artefact_share": 0.5},
    weights="saw",
)


def found(folder: Path, *cells: Made) -> Findings:
    return collect(store_of(folder, cells).directory)


def attacked(made: Made, severity: float = EPS, **changes: object) -> Made:
    parts = changes.pop("parts", ())
    return replace(
        made, perturbation="pgd", severity=severity, parts=parts, parameters=dict(changes)
    )


@pytest.mark.parametrize(
    ("cells", "attack", "stronger"),
    [
        ([], "none at this ε", False),
        ([attacked(ADV, EPS / 2, steps=100)], "none at this ε", False),
        ([attacked(ADV, steps=10)], "pgd 4/255", False),
        ([attacked(ADV, steps=10, restarts=2)], "pgd 4/255", True),
        ([attacked(ADV, 8 / 255, steps=11)], "pgd 8/255", True),
        ([attacked(ADV, steps=1, parts=("apgd_ce", "square3d"))], "pgd 4/255", True),
    ],
)
def test_an_evaluation_must_be_stronger_than_the_training(
    tmp_path: Path, cells: list[Made], attack: str, stronger: bool
) -> None:
    findings = found(tmp_path, Made(), ADV, *cells)
    table, _ = training.tables(findings, "adrenalmnist3d")
    rows = {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}
    assert rows["resnet3d_18 · quick"] == ["quick", "", ""]
    trained, strongest, verdict = rows["resnet3d_18 · adv_pgd"]
    assert (trained, strongest) == ("adv_pgd 4/255", attack)
    assert verdict == ("stronger" if stronger else verdict)
    assert ("add autoattack3d" in verdict) == (not stronger)


def test_seen_and_unseen_artefacts_have_columns_of_their_own(tmp_path: Path) -> None:
    cells = [
        replace(made, perturbation=name, severity=level, correct=correct)
        for made, correct in ((Made(), 0.4), (SAW, 0.8))
        for name, level in (("motion", 1), ("motion", 2), ("ghosting", 1), ("bias_field", 1))
    ]
    cells[4:6] = [replace(one, correct=0.95) for one in cells[4:6]]
    findings = found(tmp_path, Made(), SAW, *cells)
    table, _ = training.tables(findings, "adrenalmnist3d")
    assert table.header == (
        "Model",
        "Clean",
        "Seen by artefact_augment (1)",
        "Unseen by it (2)",
    )
    values = {row[0].text: [entry.order for entry in row[1:]] for row in table.rows}
    right = {
        (one.recipe, one.perturbation, one.severity): (
            one.predictions().logits.argmax(1) == one.predictions().labels
        ).mean()
        for one in cells
    }
    for label, recipe in (("quick", "quick"), ("artefact_augment", "artefact_augment")):
        seen = (right[recipe, "motion", 1] + right[recipe, "motion", 2]) / 2
        unseen = (right[recipe, "ghosting", 1] + right[recipe, "bias_field", 1]) / 2
        assert values[f"resnet3d_18 · {label}"][1:] == pytest.approx([seen, unseen])


def test_gains_over_plain_training_are_tested_on_what_was_seen_and_what_was_not(
    tmp_path: Path,
) -> None:
    cells = [
        replace(made, perturbation=name, severity=level, correct=correct)
        for made, right in ((Made(), (0.4, 0.5)), (SAW, (0.9, 0.5)), (ADV, (0.4, 0.5)))
        for name, level, correct in (("motion", 1, right[0]), ("ghosting", 1, right[1]))
    ]
    attacks = [attacked(replace(Made(), correct=0.1)), attacked(replace(ADV, correct=0.6))]
    other = Made(model="medvit3d_n", weights="other")
    findings = found(tmp_path, Made(), SAW, ADV, other, *cells, *attacks)
    *_, table = training.tables(findings, "adrenalmnist3d")
    rows = [[entry.text for entry in row] for row in table.rows]
    assert table.title == "What training for robustness gains on adrenalmnist3d"
    gains = {(recipe, over, where): row for _, recipe, over, where, _, *row in rows}
    assert {row[0] for row in rows} == {"resnet3d_18"}
    assert set(gains) == {
        ("artefact_augment", "quick", "clean"),
        ("artefact_augment", "quick", "artefacts it saw"),
        ("artefact_augment", "quick", "artefacts it did not see"),
        ("adv_pgd 4/255", "quick", "clean"),
        ("adv_pgd 4/255", "quick", "pgd 4/255"),
        ("adv_pgd 4/255", "quick", "artefacts"),
    }
    saw = gains["artefact_augment", "quick", "artefacts it saw"]
    assert float(saw[1]) == pytest.approx(0.5, abs=0.15)
    assert saw[3].startswith("≤")
    robust = gains["adv_pgd 4/255", "quick", "pgd 4/255"]
    assert float(robust[1]) == pytest.approx(0.5, abs=0.15)
    assert float(gains["artefact_augment", "quick", "artefacts it did not see"][3]) > 0.05


def test_a_gain_of_a_suspect_number_is_marked(tmp_path: Path) -> None:
    masked = attacked(replace(ADV, correct=0.9, failed_check="gradients vanish"))
    findings = found(tmp_path, Made(), ADV, attacked(replace(Made(), correct=0.1)), masked)
    *_, table = training.tables(findings, "adrenalmnist3d")
    marks = {row[3].text: row[6].marks for row in table.rows}
    assert marks == {"clean": "", "pgd 4/255": "†"}
    (note,) = table.notes
    assert "resnet3d_18 · adv_pgd, pgd 4/255" in note.text


def test_a_gain_over_some_of_the_cells_says_so(tmp_path: Path) -> None:
    def cells(made: Made, *names: str) -> list[Made]:
        return [made, *(replace(made, perturbation=name, severity=1) for name in names)]

    findings = found(tmp_path, *cells(Made(), "motion"), *cells(ADV, "motion", "ghosting"))
    *_, table = training.tables(findings, "adrenalmnist3d")
    assert {row[3].text: row[6].marks for row in table.rows} == {"clean": "", "artefacts": "*"}
    assert [note.sign for note in table.notes] == ["*"]


@pytest.mark.parametrize("cells", [(ADV,), (Made(),)])
def test_without_both_kinds_of_training_nothing_is_gained(
    tmp_path: Path, cells: tuple[Made, ...]
) -> None:
    tables = training.tables(found(tmp_path, *cells), "adrenalmnist3d")
    assert not any(table.title.startswith("What training") for table in tables)


def test_the_pareto_front_keeps_what_no_other_beats() -> None:
    points = [(0.9, 0.1), (0.8, 0.5), (0.7, 0.5), (0.6, 0.7), (0.5, 0.6), (0.9, 0.05)]
    assert tradeoff.front(points) == [(0.6, 0.7), (0.8, 0.5), (0.9, 0.1)]
    assert tradeoff.front([]) == []


def test_the_trade_off_has_one_point_for_each_model_and_recipe(tmp_path: Path) -> None:
    cells = [
        Made(),
        ADV,
        attacked(replace(Made(), correct=0.1)),
        attacked(replace(ADV, correct=0.5)),
    ]
    findings = found(tmp_path, *cells)
    (chart,) = tradeoff.tradeoffs(findings, "adrenalmnist3d")
    assert [panel.title for panel in chart.panels] == ["L∞ attacks, ε = 4/255"]
    from benchharness.report.plots.canvas import drawn

    (axes,) = drawn(chart).axes
    bars = {
        round(float(x), 3): round(float(y), 3)
        for points in axes.collections
        if points.get_zorder() == 3  # Above the intervals and their caps.
        for x, y in points.get_offsets()
    }
    clean = [made.predictions() for made in cells[:2]]
    shares = [round(float((p.logits.argmax(1) == p.labels).mean()), 3) for p in clean]
    assert set(bars) == set(shares)
    assert bars[shares[1]] > bars[shares[0]]
    names = [chart.name for chart in section(findings, "adrenalmnist3d", EVERYTHING).charts]
    assert "tradeoff_adrenalmnist3d" in names


def test_one_model_needs_no_trade_off(tmp_path: Path) -> None:
    findings = found(tmp_path, ADV, attacked(ADV))
    assert list(tradeoff.tradeoffs(findings, "adrenalmnist3d")) == []


def test_recipes_that_saw_the_same_artefacts_are_named_together(tmp_path: Path) -> None:
    levels = {**SAW.settings, "artefact_levels": (1, 2, 3, 4, 5)}
    hard = replace(SAW, recipe="hard", settings=levels, weights="hard")
    cells = [replace(one, perturbation="motion", severity=1) for one in (Made(), SAW, hard)]
    findings = found(tmp_path, Made(), SAW, hard, *cells)
    table, *_ = training.tables(findings, "adrenalmnist3d")
    assert table.header[2:] == ("Seen by artefact_augment and hard (1)", "Unseen by them (0)")
    assert "artefact_augment and hard train on motion" in table.caption


def test_two_settings_of_one_recipe_are_told_apart_in_gains(tmp_path: Path) -> None:
    longer = replace(Made(), settings={"epochs": 8}, weights="longer")
    cells = [attacked(one) for one in (Made(), longer, ADV)]
    findings = found(tmp_path, Made(), longer, ADV, *cells)
    *_, table = training.tables(findings, "adrenalmnist3d")
    rows = [tuple(entry.text for entry in row[:4]) for row in table.rows]
    assert len(set(rows)) == len(rows) == 4
    assert {over for _, _, over, _ in rows} == {
        model for model in findings.models if "adv_pgd" not in model
    }
