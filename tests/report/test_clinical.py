"""Clinical reading: thresholds come from clean val volumes, flips from the clean cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import statistics
from benchharness.report.collect import collect
from benchharness.report.formats.frame import frame as cell_frame
from benchharness.report.scoring import clinical
from benchharness.report.tables import clinical as tables
from benchharness.statistics import metrics
from benchharness.store.folder import Store
from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings


def reading(folder: Path, cells: list[Made], thresholds: list[float | None] | None) -> Findings:
    """The store of these cells, its clean records with thresholds."""
    before = store_of(folder / "before", cells)
    after = Store(folder / "after")
    with after.writing():
        for record in before.records().values():
            if record.predictions is not None:
                after.save_predictions(record.cell, before.predictions(record))
            facts = {"thresholds": {"split": "val", "by_class": thresholds}} if thresholds else {}
            clean = record.cell.perturbation.kind == "none"
            after.append(replace(record, facts=facts if clean else {}))
    return collect(after.directory)


def test_sensitivity_is_at_the_frozen_threshold(tmp_path: Path) -> None:
    findings = reading(tmp_path, whole_matrix(models=("medvit3d_n",)), [0.7, 0.35])
    table = tables.sensitivity(findings, "adrenalmnist3d")
    conditions = [row[1].text for row in table.rows]
    assert conditions == [
        "clean",
        "fgsm 8/255",
        "pgd 8/255",
        "bias_field level 5",
        "ghosting level 5",
        "motion level 5",
    ]
    row = next(row for row in findings.rows if row.condition == "pgd 8/255")
    assert row.predictions is not None
    scores = metrics.softmax(row.predictions.logits)[:, 1]
    called, positive = scores > 0.35, row.predictions.labels == 1
    entry = table.rows[2]
    assert [part.text for part in entry[2:4]] == ["1", "0.35"]
    assert entry[4].order == pytest.approx((called & positive).sum() / positive.sum())
    assert entry[5].order == pytest.approx((~called & ~positive).sum() / (~positive).sum())


def test_every_class_has_its_own_where_there_are_more(tmp_path: Path) -> None:
    findings = reading(tmp_path, [Made(classes=3)], [0.2, None, 0.4])
    table = tables.sensitivity(findings, "adrenalmnist3d")
    assert [row[2].text for row in table.rows] == ["0", "1", "2"]
    assert [row[3].text for row in table.rows] == ["0.20", "–", "0.40"]
    assert [note.text for note in table.notes] == [
        "the validation volumes are all of class 1, or none is."
    ]


def test_a_store_without_thresholds_says_so(tmp_path: Path) -> None:
    for index, kept in enumerate((None, [0.5])):
        findings = reading(tmp_path / str(index), [Made()], kept)
        table = tables.sensitivity(findings, "adrenalmnist3d")
        assert [note.text for note in table.notes] == [f"{clinical.NO_THRESHOLDS}."]


def test_flips_are_against_the_clean_cell(tmp_path: Path) -> None:
    right = [True] * 40 + [False] * 20
    wrong = [True] * 25 + [False] * 30 + [True] * 5
    cells = [
        Made(correct=right),
        Made(correct=wrong, perturbation="motion", severity=1),
        Made(correct=right, perturbation="motion", severity=2),
        Made(perturbation="motion", severity=3, error="broken"),
    ]
    findings = reading(tmp_path, cells, [0.5, 0.5])
    found = {row.condition: clinical.flips(findings, row) for row in findings.rows}
    assert found["motion level 1"].value == pytest.approx(20 / 60)
    expected = statistics.wilson(20, 60)
    assert (found["motion level 1"].low, found["motion level 1"].high) == (
        expected.low,
        expected.high,
    )
    assert found["motion level 2"].value == 0
    assert found["motion level 3"].gap == "failed: broken"
    assert (found["clean"].value, found["clean"].gap) == (None, "")


def test_no_clean_cell_no_flips(tmp_path: Path) -> None:
    findings = reading(tmp_path, [Made(perturbation="motion", severity=1)], None)
    assert clinical.flips(findings, findings.rows[0]).gap == "no clean cell to compare with"


def test_columns_hold_every_cell(tmp_path: Path) -> None:
    cells = [*whole_matrix(models=("medvit3d_n",))[:4], Made(dataset="fracture", classes=3)]
    cells.append(Made(perturbation="motion", severity=1, error="broken"))
    findings = reading(tmp_path, cells, [0.5, 0.5])
    frame = cell_frame(findings)
    assert len(frame) == 6
    for row, line in zip(findings.rows, frame.to_dict("records"), strict=True):
        if row.predictions is None:
            assert np.isnan(line["brier"])
            continue
        values, _ = metrics.compute(row.predictions.labels, row.predictions.logits)
        assert (line["brier"], line["ece"]) == (values["brier"], values["ece"])
        assert line["brier_low"] < line["brier"] < line["brier_high"]
        rate = statistics.confident_and_wrong(row.predictions.labels, row.predictions.logits)
        assert line["confident_and_wrong"] == rate.value
    assert frame["sensitivity_1"].notna().sum() == 4
