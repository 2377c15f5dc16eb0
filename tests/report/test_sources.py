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


def rows_of(table: Table) -> list[dict[str, str]]:
    return [
        dict(zip(table.header, (entry.text for entry in row), strict=True)) for row in table.rows
    ]


def chosen(table: Table, **columns: str) -> dict[str, str]:
    """The one row with these fields; `_` stands for a space in a column's name."""
    wanted = {name.replace("_", " "): text for name, text in columns.items()}
    (row,) = [row for row in rows_of(table) if wanted.items() <= row.items()]
    return row


def test_methods_and_own_labels_against_no_adaptation(tmp_path: Path) -> None:
    _, against = sources.tables(found(tmp_path, *ZERO))
    assert {(row["Trained on"], row["Adapted by"], row["Over"]) for row in rows_of(against)} == {
        ("ct", "coral", "ct by none, source val"),
        ("its own labels", "", "ct by none, source val"),
        ("its own labels", "", "xray by none, source val"),
    }
    gain = chosen(against, Over="xray by none, source val", Metric="accuracy")
    assert float(gain["Gain"]) == pytest.approx(0.6, abs=0.1)
    assert gain["p (Holm)"].startswith("≤ 0.00")
    assert gain["Seeds"] == "0"


def test_methods_are_compared_with_weights_that_were_chosen_alike(tmp_path: Path) -> None:
    cells = (
        come("ct", 0.4),
        come("ct", 0.6, select="target_val"),
        come("ct", 0.5, select="target_val", adapt="coral"),
    )
    _, against = sources.tables(found(tmp_path, *cells))
    gain = chosen(against, Metric="accuracy")
    assert float(gain["Gain"]) == pytest.approx(-0.1, abs=0.05)
    assert (gain["Chosen on"], gain["Over"]) == ("target val", "ct by none, target val")


def test_where_nothing_is_shared_there_is_no_table_of_gains(tmp_path: Path) -> None:
    cells = (come("ct", 0.4, seed=0), come("ct", 0.5, adapt="coral", seed=1))
    (matrix,) = sources.tables(found(tmp_path, *cells))
    assert "No row learned from a label of the target." in matrix.caption


def test_gains_are_over_the_training_seeds_of_both(tmp_path: Path) -> None:
    cells = [come("ct", 0.4, seed=seed) for seed in (0, 1)]
    cells += [come("ct", 0.6, adapt="coral", seed=seed) for seed in (1, 2)]
    _, against = sources.tables(found(tmp_path, *cells))
    assert {row["Seeds"] for row in rows_of(against)} == {"1"}


def test_the_gain_of_every_training_seed_is_shown(tmp_path: Path) -> None:
    cells = [come("ct", 0.4, seed=seed) for seed in (0, 1)]
    cells += [
        come("ct", correct, adapt="coral", seed=seed) for seed, correct in enumerate((0.6, 0.3))
    ]
    _, against = sources.tables(found(tmp_path, *cells))
    gain = chosen(against, Metric="accuracy")
    assert gain["Seeds"] == "0, 1"
    each = [float(one) for one in gain["Of each seed"].split(", ")]
    assert each == pytest.approx([0.2, -0.1], abs=0.12)
    assert sum(each) / 2 == pytest.approx(float(gain["Gain"]), abs=0.001)


def test_a_target_without_zero_shot_cells_has_no_columns(tmp_path: Path) -> None:
    other = [dataclasses.replace(one, dataset="hippocampus3d") for one in FEW]
    matrix = next(sources.tables(found(tmp_path, *ZERO, *other)))
    assert not any("hippocampus3d" in head for head in matrix.header)


def scratch(shots: int | str, correct: float, **how: Any) -> Made:
    return come("none", correct, shots=shots, **how)


def test_all_labels_are_compared_with_its_own_where_scratch_is_missing(tmp_path: Path) -> None:
    cells = [one for one in FEW if not (one.recipe == "scratch" and one.correct == 0.85)]
    own = [Made(correct=0.6, weights=f"own{seed}", seed=seed) for seed in (0, 1, 2)]
    few, gains = sources.tables(found(tmp_path, *cells, *own))
    row = chosen(few, Weights_from="its own labels")
    assert (row["Source's recipe"], row["Chosen on"]) == ("quick", "its val")
    assert row["Accuracy, 16"] == "–"
    assert float(row["Accuracy, all"].partition(" ")[0]) == pytest.approx(0.6, abs=0.05)
    assert any("measured once" in note.text for note in few.notes)
    ct = {"Weights_from": "ct", "Metric": "accuracy"}
    assert chosen(gains, Shots="16", **ct)["Over"] == "scratch"
    gain = chosen(gains, Shots="all", **ct)
    assert gain["Over"] == "its own labels, quick"
    assert float(gain["Gain"]) == pytest.approx(0.3, abs=0.05)


def test_the_source_s_recipe_is_the_one_of_its_own_labels(tmp_path: Path) -> None:
    cells = [
        come("ct", 0.8, shots="all", recipe="quick"),
        come("ct", 0.9, shots="all", recipe="strong"),
        Made(recipe="quick", correct=0.7, weights="quick"),
        Made(recipe="strong", correct=0.95, weights="strong"),
    ]
    _, gains = sources.tables(found(tmp_path, *cells))
    for recipe, expected in (("quick", 0.1), ("strong", -0.05)):
        gain = chosen(gains, Metric="accuracy", Over=f"its own labels, {recipe}")
        assert gain["Source's recipe"] == recipe
        assert float(gain["Gain"]) == pytest.approx(expected, abs=0.06)


def test_scratch_is_chosen_as_what_is_compared_with_it(tmp_path: Path) -> None:
    cells = [
        come("ct", 0.8, shots=16, recipe="quick"),
        come("ct", 0.8, shots=16, recipe="quick", select="target_val"),
        scratch(16, 0.5),
        scratch(16, 0.7, select="target_val"),
    ]
    _, gains = sources.tables(found(tmp_path, *cells))
    for how, expected in (("last epoch", 0.3), ("target val", 0.1)):
        gain = chosen(gains, Metric="accuracy", Chosen_on=how)
        assert float(gain["Gain"]) == pytest.approx(expected, abs=0.06)


def test_variants_of_a_recipe_stay_apart(tmp_path: Path) -> None:
    small, large = (
        come("ct", 0.6, shots=16, recipe="quick"),
        come("ct", 0.8, shots=16, recipe="quick"),
    )
    varied = [
        dataclasses.replace(
            one, settings={**one.settings, "learning_rate": rate}, weights=str(rate)
        )
        for one, rate in ((small, 3e-4), (large, 1e-3))
    ]
    few, gains = sources.tables(found(tmp_path, *varied, scratch(16, 0.5)))
    names = {row["Weights from"] for row in rows_of(few)}
    assert len(names) == 3
    assert any("0.001" in name for name in names)
    assert "finetune (learning rate 0.0003), finetune (learning rate 0.001)" in few.caption
    assert len(gains.rows) == 4
    other = come("ct", 0.9, shots=64, recipe="quick")
    (chart,) = plots.curves(found(tmp_path / "more", *varied, other))
    assert len({look.model for look in chart.looks}) == 3


def test_networks_are_compared_where_they_came_the_same_way(tmp_path: Path) -> None:
    cells = [
        dataclasses.replace(one, model=model, correct=one.correct - less, weights=f"{model}{at}")
        for model, less in (("resnet3d_18", 0.0), ("medvit3d_n", 0.3))
        for at, one in enumerate(ZERO if model == "medvit3d_n" else ZERO[1:])
    ]
    *_, between = sources.tables(found(tmp_path, *cells))
    sign = -1 if between.title.startswith("medvit3d_n against resnet3d_18 on ") else 1
    ways = {"ct by coral", "xray", "its own labels"}
    assert {row["Weights from"] for row in rows_of(between)} == ways
    gain = chosen(between, Weights_from="its own labels", Metric="accuracy")
    assert sign * float(gain["Gain"]) == pytest.approx(0.3, abs=0.1)
    assert gain["p (Holm)"].startswith("≤")


def test_networks_say_where_labels_do_not_correspond(tmp_path: Path) -> None:
    cells = [*FEW, *(dataclasses.replace(one, model="medvit3d_n") for one in FEW)]
    tables = [*sources.tables(found(tmp_path, *cells))]
    assert len(tables) == 5
    assert all("lungs: labels do not correspond" in table.caption for table in tables)
    found_sections = sections(found(tmp_path / "sections", *cells))
    (data,) = [one for one in found_sections if one.title == "adrenalmnist3d"]
    assert "lungs: labels do not correspond" in data.text
    (chart,) = plots.curves(found(tmp_path / "again", *cells))
    assert "lungs: labels do not correspond" in chart.caption


def test_few_labels_against_scratch(tmp_path: Path) -> None:
    few, gains = sources.tables(found(tmp_path, *FEW))
    assert few.header[3:] == ("AUC, 16", "AUC, all", "Accuracy, 16", "Accuracy, all")
    lungs, ct = (chosen(few, Weights_from=name) for name in ("lungs", "ct"))
    assert lungs["Accuracy, all"] == "–"
    assert float(ct["Accuracy, 16"].partition(" ")[0]) == pytest.approx(0.8, abs=0.05)
    for table in (few, gains):
        assert "lungs: labels do not correspond; read as few-shot pre-training only" in (
            table.caption
        )
    assert {(row["Weights from"], row["Shots"], row["Over"]) for row in rows_of(gains)} == {
        (arm, shots, "scratch") for arm, shots in (("ct", "16"), ("ct", "all"), ("lungs", "16"))
    }
    better = chosen(gains, Weights_from="ct", Shots="16", Metric="accuracy")
    assert float(better["Gain"]) == pytest.approx(0.3, abs=0.05)
    assert better["p (Holm)"].startswith("≤")
    equal = chosen(gains, Weights_from="lungs", Metric="accuracy")
    assert float(equal["p (Holm)"]) > 0.05
    assert equal["Seeds"] == "0, 1, 2"


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
