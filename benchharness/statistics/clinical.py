"""What a clinical reader asks: sensitivity at a frozen threshold, confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics import metrics, uncertainty
from benchharness.statistics.basis import LEVEL, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Booleans, Floats, Patients
    from benchharness.statistics.metrics import Labels, Logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of volumes with its interval."""

    value: float | None
    """In [0, 1]; None without volumes."""
    n: int
    """Number of volumes that the share is of."""
    interval: Interval


def rate(counted: Booleans, level: float = LEVEL, *, patients: Patients | None = None) -> Rate:
    """The share of True among (N,) volumes, of these patients (N,) where they are known."""
    n, k = len(counted), int(counted.sum())
    interval = uncertainty.share(counted, patients, level)
    return Rate(value=k / n if n else None, n=n, interval=interval)


def frozen_threshold(positive: Booleans, scores: Floats) -> float | None:
    """The threshold with the largest Youden index, to freeze on clean validation volumes.

    Youden, Cancer 3, 1950: sensitivity + specificity − 1. The threshold lies halfway between two
    scores, so that a score that changes slightly stays on its side. Of equally good thresholds it
    is the lowest, which misses the fewest positives.

    Args:
        positive: (N,), which volumes belong to the class.
        scores: (N,), the probability of the class, in [0, 1].

    Returns:
        A volume is called positive when its score exceeds this; None when all volumes or none are
        positive.
    """
    if positive.all() or not positive.any():
        return None
    levels = np.unique(scores)
    candidates = np.concatenate([[levels[0] / 2], (levels[:-1] + levels[1:]) / 2])
    missed, rejected = (
        np.searchsorted(np.sort(own), candidates, "right") / len(own)
        for own in (scores[positive], scores[~positive])
    )
    return float(candidates[np.argmax(rejected - missed)])


def sensitivity_and_specificity(
    positive: Booleans,
    scores: Floats,
    threshold: float,
    level: float = LEVEL,
    *,
    patients: Patients | None = None,
) -> tuple[Rate, Rate]:
    """Share of positives above a threshold, and of negatives at or below it.

    Args:
        positive: (N,), which volumes belong to the class.
        scores: (N,), the probability of the class.
        threshold: Chosen on other volumes; see `frozen_threshold`.
        level: Nominal coverage of the intervals, in (0, 1).
        patients: (N,), resampled with all their volumes; None where they are not known.
    """
    called = scores > threshold
    known, unknown = (None, None) if patients is None else (patients[positive], patients[~positive])
    return (
        rate(called[positive], level, patients=known),
        rate(~called[~positive], level, patients=unknown),
    )


def called(logits: Logits, thresholds: Sequence[float]) -> Booleans:
    """Which volumes are called of each class: its probability exceeds its threshold, (N, K).

    Args:
        logits: (N, K).
        thresholds: One for each class; see `frozen_threshold`.
    """
    above: Booleans = metrics.softmax(logits) > np.asarray(thresholds)
    return above


def confident_and_wrong(
    labels: Labels,
    logits: Logits,
    confidence: float = 0.9,
    level: float = LEVEL,
    *,
    patients: Patients | None = None,
) -> Rate:
    """Share of all volumes that are misclassified with at least this confidence.

    Args:
        labels: (N,).
        logits: (N, K).
        confidence: A prediction counts as confident when its largest probability is at least this.
        level: Nominal coverage of the interval, in (0, 1).
        patients: (N,), resampled with all their volumes; None where they are not known.
    """
    confident = metrics.softmax(logits).max(axis=1, initial=0.0) >= confidence
    return rate(confident & ~metrics.correct(labels, logits), level, patients=patients)
