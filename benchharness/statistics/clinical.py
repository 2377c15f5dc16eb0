"""What a clinical reader asks: sensitivity at a frozen threshold, confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics import metrics
from benchharness.statistics.basis import LEVEL, Interval
from benchharness.statistics.intervals import wilson

if TYPE_CHECKING:
    from benchharness.statistics.basis import Booleans, Floats
    from benchharness.statistics.metrics import Labels, Logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of volumes with Wilson's interval."""

    value: float | None
    """In [0, 1]; None without volumes."""
    n: int
    """Number of volumes that the share is of."""
    interval: Interval


def rate(counted: Booleans, level: float = LEVEL) -> Rate:
    """The share of True among (N,) volumes."""
    n, k = len(counted), int(counted.sum())
    return Rate(value=k / n if n else None, n=n, interval=wilson(k, n, level))


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
    positive: Booleans, scores: Floats, threshold: float, level: float = LEVEL
) -> tuple[Rate, Rate]:
    """Share of positives above a threshold, and of negatives at or below it.

    Args:
        positive: (N,), which volumes belong to the class.
        scores: (N,), the probability of the class.
        threshold: Chosen on other volumes; see `frozen_threshold`.
        level: Nominal coverage of the intervals, in (0, 1).
    """
    called = scores > threshold
    return rate(called[positive], level), rate(~called[~positive], level)


def confident_and_wrong(
    labels: Labels, logits: Logits, confidence: float = 0.9, level: float = LEVEL
) -> Rate:
    """Share of all volumes that are misclassified with at least this confidence.

    Args:
        labels: (N,).
        logits: (N, K).
        confidence: A prediction counts as confident when its largest probability is at least this.
        level: Nominal coverage of the interval, in (0, 1).
    """
    confident = metrics.softmax(logits).max(axis=1, initial=0.0) >= confidence
    return rate(confident & ~metrics.correct(labels, logits), level)
