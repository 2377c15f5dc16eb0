"""Reliability diagrams: how often answers are right, by how sure the network is of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.cells.score import Score
from benchharness.report.charts.chart import SHARES, Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.parts import slug
from benchharness.report.scoring.subjects import subjects
from benchharness.statistics import intervals, metrics
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row

_AXIS = Axis(title="Confidence in the answer", low=-0.02, high=1.02, ticks=SHARES)


def reliabilities(findings: Findings, dataset: str) -> Iterator[Chart]:
    """The chart of a dataset: clean, and under each family of perturbations."""
    families = (CLEAN_FAMILY, *findings.families(dataset))
    panels = tuple(_panel(findings, dataset, family) for family in families)
    shown = tuple(panel for panel in panels if not panel.empty)
    models = [subject.model for subject in subjects(findings, dataset, each=False)]
    if shown:
        yield Chart(
            name=f"reliability_{slug(dataset)}",
            title=f"Reliability of the answers, {dataset}",
            caption="Accuracy of the volumes in each of the 15 bins that the expected calibration "
            "error sums over, at their mean confidence; larger markers are more volumes. Below "
            "the diagonal a model is surer than it should be. Cells of a family are pooled. Bars "
            "are Wilson's 95 % intervals, which count each volume (or patient) once.",
            kind="reliability",
            looks=tuple(look(findings, model) for model in models),
            panels=shown,
            across=len(shown),
        )


def _panel(findings: Findings, dataset: str, family: str) -> Panel:
    marks: list[Mark] = []
    for subject in subjects(findings, dataset, each=False):
        rows = [
            row
            for row in findings.of(dataset)
            if row.model == subject.model
            and row.family == family
            and row.predictions is not None
            and not row.record.inapplicable
        ]
        if rows:
            marks += _bins(subject.model, rows)
    title = "Clean" if family == CLEAN_FAMILY else f"Under {findings.title(family)}"
    return Panel(title=title, x=_AXIS, y="Accuracy", marks=tuple(marks), diagonal=True)


def _bins(model: str, rows: Sequence[Row]) -> Iterator[Mark]:
    found = [row.predictions for row in rows if row.predictions is not None]
    confidence = np.concatenate([metrics.softmax(each.logits).max(axis=1) for each in found])
    right = np.concatenate([metrics.correct(each.labels, each.logits) for each in found])
    # A volume is in several cells, whose answers agree: they count as one.
    groups = np.concatenate(
        [each.ids if each.patients is None else each.patients for each in found]
    )
    patients = any(each.patients is not None for each in found)
    bins = np.ceil(confidence * metrics.CALIBRATION_BINS).astype(np.int64)
    suspect = "; ".join(dict.fromkeys(row.suspicion for row in rows if row.suspicion))
    for number in np.unique(bins):
        own = bins == number
        share, count = float(right[own].mean()), len(np.unique(groups[own]))
        interval = intervals.wilson(round(share * count), count)
        if patients:
            interval = replace(interval, method=f"Wilson with {count} patients for volumes")
        low, high = (number - 1) / metrics.CALIBRATION_BINS, number / metrics.CALIBRATION_BINS
        yield Mark(
            model=model,
            x=float(confidence[own].mean()),
            score=Score.of(share, interval, suspect=suspect),
            where=f"Confidence {low:.2f} to {high:.2f}, {int(own.sum())} answers",
            weight=float(own.mean()),
        )
