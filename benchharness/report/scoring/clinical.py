"""What a clinic asks of every cell: thresholds frozen on clean volumes, calibration, flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.report.cells.score import Score
from benchharness.statistics import metrics, uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row

CALIBRATION = {
    "brier": "Brier",
    "ece": "ECE",
    "confident_and_wrong": "Confident and wrong",
    "flip_rate": "Flip rate",
}
"""The scores of `calibration`, as headings."""

NO_THRESHOLDS = "the clean cell has no thresholds: the version that recorded it kept none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByClass:
    """How well one class is told from the others at its frozen threshold."""

    label: int
    """The class, 0..K−1."""
    threshold: float | None
    """None where none could be frozen."""
    sensitivity: Score
    specificity: Score


def calibration(findings: Findings, row: Row) -> dict[str, Score]:
    """The scores of a cell by the names of `CALIBRATION`."""
    return findings.once(("calibration", row.record.identity), lambda: _calibrations(findings, row))


def _calibrations(findings: Findings, row: Row) -> dict[str, Score]:
    return {
        "brier": _calibration(row, "brier"),
        "ece": _calibration(row, "ece"),
        "confident_and_wrong": _confident_and_wrong(row),
        "flip_rate": flips(findings, row),
    }


def _calibration(row: Row, metric: str) -> Score:
    """The Brier score, in [0, 2], or the expected calibration error, in [0, 1]."""
    if row.predictions is None:
        return Score(gap=row.failure)
    values, undefined = row.predictions.metrics
    if values[metric] is None:
        return Score(gap=undefined[metric])
    labels, logits = row.predictions.labels, row.predictions.logits
    interval = uncertainty.interval(metric, labels, logits, row.predictions.patients)
    return Score.of(values[metric], interval, suspect=row.suspicion)


def _confident_and_wrong(row: Row) -> Score:
    if row.predictions is None:
        return Score(gap=row.failure)
    found = statistics.confident_and_wrong(
        row.predictions.labels, row.predictions.logits, patients=row.predictions.patients
    )
    return _rate(found, row)


def flips(findings: Findings, row: Row) -> Score:
    """The share of volumes whose predicted class differs from that of the clean volume."""
    if row.key.kind == "none":
        return Score()
    if row.predictions is None:
        return Score(gap=row.failure)
    clean = findings.clean(row)
    if clean is None or clean.predictions is None:
        return Score(gap="no clean cell to compare with")
    if not np.array_equal(clean.predictions.ids, row.predictions.ids):
        return Score(gap="the clean cell has other volumes")
    changed = metrics.predicted_classes(clean.predictions.logits) != metrics.predicted_classes(
        row.predictions.logits
    )
    interval = uncertainty.share(changed, row.predictions.patients)
    return Score.of(float(changed.mean()), interval, suspect=row.suspicion)


def by_class(findings: Findings, row: Row) -> Iterator[ByClass]:
    """Sensitivity and specificity of each class; of two classes the second alone."""
    if row.predictions is None:
        return
    labels, logits = row.predictions.labels, row.predictions.logits
    probabilities = metrics.softmax(logits)
    classes = logits.shape[1]
    clean = findings.clean(row)
    frozen = None if clean is None else clean.record.thresholds(classes)
    for k in (1,) if classes == 2 else range(classes):
        threshold = None if frozen is None else frozen[k]
        if threshold is None:
            gap = Score(
                gap=NO_THRESHOLDS
                if frozen is None
                else f"the validation volumes are all of class {k}, or none is"
            )
            yield ByClass(label=k, threshold=None, sensitivity=gap, specificity=gap)
            continue
        found = statistics.sensitivity_and_specificity(
            labels == k, probabilities[:, k], threshold, patients=row.predictions.patients
        )
        own, other = (_rate(rate, row) for rate in found)
        yield ByClass(label=k, threshold=threshold, sensitivity=own, specificity=other)


def _rate(found: statistics.Rate, row: Row) -> Score:
    if found.value is None:
        return Score(gap="no volumes to count")
    return Score.of(found.value, found.interval, suspect=row.suspicion)
