"""Operating points: thresholds that clean validation volumes fix, whatever the test volumes say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from benchharness.evidence.claims import Point
    from benchharness.evidence.subject import Measured
    from benchharness.statistics.basis import Booleans, Floats

NOTHING_KEPT = (
    "the run keeps no validation predictions to freeze it on, as earlier versions did not; remove "
    "the run's clean record and type 'bench run' again"
)


def threshold(measured: Measured, label: int, point: Point) -> tuple[float | None, str]:
    """The threshold of a class, from the clean validation volumes alone.

    Returns:
        The threshold, above which a probability calls the class, and an empty text; or None and the
        reason.
    """
    if point.rule == "threshold":
        return point.value, ""
    val = measured.predictions.validation
    if val is None:
        return _recorded(measured, label, point)
    positive, scores = val.labels == label, metrics.softmax(val.logits)[:, label]
    if positive.all() or not positive.any():
        return None, f"the validation volumes are all of class {label}, or none is"
    if point.rule == "youden":
        return statistics.frozen_threshold(positive, scores), ""
    assert point.value is not None
    return frozen(positive, scores, point.rule, point.value), ""


def _recorded(measured: Measured, label: int, point: Point) -> tuple[float | None, str]:
    """What the clean record froze itself, which only Youden's rule can be."""
    found = measured.clean.record.thresholds(measured.classes)
    if point.rule == "youden" and found is not None and found[label] is not None:
        return found[label], ""
    return None, NOTHING_KEPT


def frozen(positive: Booleans, scores: Floats, rule: str, share: float) -> float:
    """The threshold that gives at least a share of sensitivity or specificity.

    Of all such thresholds it is the one that costs the other of the two least: the highest for a
    given sensitivity, the lowest for a given specificity. As in `statistics.frozen_threshold` it
    lies halfway between two scores.

    Args:
        positive: (N,), which validation volumes belong to the class, some and not all.
        scores: (N,), the probability of the class.
        rule: `sensitivity` or `specificity`.
        share: In (0, 1).
    """
    levels = np.unique(scores)
    ends = [levels[0] / 2], (levels[:-1] + levels[1:]) / 2, [(levels[-1] + 1) / 2]
    candidates = np.concatenate(ends)
    if rule == "sensitivity":
        own = np.sort(scores[positive])
        kept = 1 - np.searchsorted(own, candidates, "right") / len(own)
        return float(candidates[kept >= share - 1e-12].max())
    other = np.sort(scores[~positive])
    rejected = np.searchsorted(other, candidates, "right") / len(other)
    return float(candidates[rejected >= share - 1e-12].min())
