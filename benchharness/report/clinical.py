"""What a clinic asks of every cell: thresholds frozen on clean volumes, calibration, flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchharness import statistics
from benchharness.report import scores
from benchharness.report.collect import CLEAN, Score
from benchharness.report.layout import Line, score_table
from benchharness.statistics import metrics, uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.collect import Findings, Row
    from benchharness.report.layout import Table
    from benchharness.report.scores import Condition

NO_THRESHOLDS = "the clean cell holds no thresholds: it was recorded before they were kept"


def calibration(findings: Findings, dataset: str) -> Table:
    """Brier score, ECE, confident mistakes and flips, each perturbation at its largest severity."""
    lines = [
        Line(
            names=(label, row.condition),
            fields=(brier(row), ece(row), confident_and_wrong(row), flips(findings, row)),
        )
        for label, row in _worst_rows(findings, dataset)
    ]
    return score_table(
        f"Calibration and flips on {dataset}",
        ("Model", "Condition", "Brier", "ECE", "Confident and wrong", "Flip rate"),
        lines,
        caption="Confident and wrong: misclassified with a probability of at least 0.9. Flip rate: "
        "the predicted class is not that of the clean volume. Each perturbation at its largest "
        "severity; summary.csv has every cell. Brackets hold 95 % intervals; that of the ECE holds "
        "less than its level.",
    )


def sensitivity(findings: Findings, dataset: str) -> Table:
    """Sensitivity and specificity of every class at the threshold frozen on clean val volumes."""
    lines = [
        Line(names=(label, row.condition, str(k)), fields=(level, *found))
        for label, row in _worst_rows(findings, dataset)
        for k, level, found in _by_class(findings, row)
    ]
    return score_table(
        f"Sensitivity and specificity on {dataset}",
        ("Model", "Condition", "Class", "Threshold", "Sensitivity", "Specificity"),
        lines,
        caption="A class is called where its probability exceeds the threshold of the largest "
        "Youden index on clean validation volumes, as a deployed device would do; of two classes "
        "the second is shown. The intervals take the threshold as given.",
    )


def with_columns(findings: Findings) -> pd.DataFrame:
    """The cells as `Findings.frame` gives them, with the columns of this module behind."""
    extra = pd.DataFrame([_columns(findings, row) for row in findings.rows])
    return pd.concat([findings.frame(), extra], axis="columns")


def _columns(findings: Findings, row: Row) -> dict[str, Any]:
    named = {
        "brier": brier(row),
        "ece": ece(row),
        "confident_and_wrong": confident_and_wrong(row),
        "flip_rate": flips(findings, row),
    }
    for k, _, (found, other) in _by_class(findings, row):
        named |= {f"sensitivity_{k}": found, f"specificity_{k}": other}
    return {
        f"{name}{end}": value
        for name, score in named.items()
        for end, value in (("", score.value), ("_low", score.low), ("_high", score.high))
    }


def _worst_rows(findings: Findings, dataset: str) -> Iterator[tuple[str, Row]]:
    """Of every training the clean cell and each perturbation at its largest severity."""
    wanted: list[Condition] = [scores.UNPERTURBED]
    for family in findings.families(dataset):
        groups = scores.by_perturbation(scores.conditions(findings, dataset, family))
        wanted += [own[-1] for own in groups.values()]
    for subject in scores.subjects(findings, dataset):
        for condition in wanted if len(subject.seeds) == 1 else ():
            row = findings.find(dataset, subject.model, subject.seeds[0], condition.label)
            if row is not None:
                yield subject.label, row


def brier(row: Row) -> Score:
    """The Brier score of a cell, in [0, 2]."""
    return _calibration(row, "brier")


def ece(row: Row) -> Score:
    """The expected calibration error of a cell, in [0, 1]."""
    return _calibration(row, "ece")


def _calibration(row: Row, metric: str) -> Score:
    if row.predictions is None:
        return _failed(row)
    labels, logits = row.predictions.labels, row.predictions.logits
    values, undefined = metrics.compute(labels, logits)
    value = values[metric]
    if value is None:
        return Score(gap=undefined[metric])
    found = uncertainty.interval(metric, labels, logits, row.predictions.patients)
    if found is None:
        return Score(value=value, suspect=row.suspicion)
    return Score(value=value, low=found.low, high=found.high, suspect=row.suspicion)


def confident_and_wrong(row: Row) -> Score:
    """The share of volumes that are wrong with a probability of at least 0.9."""
    if row.predictions is None:
        return _failed(row)
    return _rate(
        statistics.confident_and_wrong(row.predictions.labels, row.predictions.logits), row
    )


def flips(findings: Findings, row: Row) -> Score:
    """The share of volumes whose predicted class is not that of the clean volume."""
    if row.record.cell.perturbation.kind == "none":
        return Score()
    if row.predictions is None:
        return _failed(row)
    clean = findings.find(row.dataset, row.model, row.seed, CLEAN)
    if clean is None or clean.predictions is None:
        return Score(gap="no clean cell to compare with")
    if not np.array_equal(clean.predictions.ids, row.predictions.ids):
        return Score(gap="the clean cell is on other volumes")
    changed = metrics.predicted_classes(clean.predictions.logits) != metrics.predicted_classes(
        row.predictions.logits
    )
    found = uncertainty.share(changed, row.predictions.patients)
    return Score(value=float(changed.mean()), low=found.low, high=found.high, suspect=row.suspicion)


def _by_class(findings: Findings, row: Row) -> list[tuple[int, float | None, tuple[Score, Score]]]:
    """Of each class its threshold, its sensitivity and its specificity."""
    if row.predictions is None:
        return []
    labels, logits = row.predictions.labels, row.predictions.logits
    probabilities = metrics.softmax(logits)
    frozen = _thresholds(findings, row, logits.shape[1])
    found: list[tuple[int, float | None, tuple[Score, Score]]] = []
    for k in (1,) if logits.shape[1] == 2 else range(logits.shape[1]):
        threshold = None if frozen is None else frozen[k]
        if threshold is None:
            gap = NO_THRESHOLDS if frozen is None else f"class {k} has no or only val volumes"
            found.append((k, None, (Score(gap=gap), Score(gap=gap))))
            continue
        own, other = statistics.sensitivity_and_specificity(
            labels == k, probabilities[:, k], threshold
        )
        found.append((k, threshold, (_rate(own, row), _rate(other, row))))
    return found


def _thresholds(findings: Findings, row: Row, classes: int) -> list[float | None] | None:
    """By class, what the clean cell of the same weights froze; None where it holds nothing."""
    clean = findings.find(row.dataset, row.model, row.seed, CLEAN)
    if clean is None:
        return None
    facts = clean.record.facts.get("thresholds")
    values = facts.get("by_class") if isinstance(facts, dict) else None
    if not isinstance(values, list) or len(values) != classes:
        return None
    return [float(value) if isinstance(value, int | float) else None for value in values]


def _rate(found: statistics.Rate, row: Row) -> Score:
    if found.value is None:
        return Score(gap="no volume could count")
    return Score(
        value=found.value,
        low=found.interval.low,
        high=found.interval.high,
        suspect=row.suspicion,
    )


def _failed(row: Row) -> Score:
    return Score(gap=f"failed: {row.record.error}")
