"""Metrics of weighted volumes, where each column of weights is one resample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Booleans, Floats
    from benchharness.statistics.metrics import Labels, Logits

_AT_ONCE = 100_000
"""Weights that stay in a core's own cache, where this is three times as fast."""


def weighted(
    metric: str, labels: Labels, logits: Logits, weights: Floats, total: float | None = None
) -> Floats:
    """A metric under each of R columns of weights.

    Args:
        metric: One of `metrics.NAMES`.
        labels: (N,), 0..K−1.
        logits: (N, K), finite.
        weights: (N, R), at least 0: how often each volume counts.
        total: The sum of each column where it is known to be the same; it takes long to find.

    Returns:
        (R,); NaN where a class that the metric needs has no weight.
    """
    if metric == "auc":
        scores = metrics.softmax(logits)
        targets = scored_classes(logits.shape[1])
        areas = [mann_whitney(labels == k, scores[:, k], weights) for k in targets]
        auc: Floats = np.mean(areas, axis=0)
        return auc
    if metric == "balanced_accuracy":
        right = _right(labels, logits)
        classes = [labels == k for k in range(logits.shape[1])]
        recalls: Floats = np.mean([_mean(right[own], weights[own]) for own in classes], axis=0)
        return recalls
    if metric == "ece":
        totals = weights.sum(axis=0) if total is None else total
        by_bin = metrics.calibration_gaps(labels, logits)
        # A bin without a volume adds 0, and many bins are such.
        gaps = by_bin[:, by_bin.any(axis=0)].T @ weights / totals
        errors: Floats = np.abs(gaps).sum(axis=0)
        return errors
    each = {"accuracy": _right, "brier": metrics.brier_scores, "nll": metrics.log_losses}[metric]
    return _mean(each(labels, logits), weights, total)


def mann_whitney(positive: Booleans, scores: Floats, weights: Floats) -> Floats:
    """The area under the ROC curve: how often a positive outranks a negative.

    Mann and Whitney, Annals of Mathematical Statistics 18, 1947; a tie counts one half. One sort of
    the scores serves all columns.

    Args:
        positive: (N,), which volumes belong to the class.
        scores: (N,), larger for positives.
        weights: (N, R), at least 0.

    Returns:
        (R,), in [0, 1]; NaN where positives or negatives have no weight.
    """
    order = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    own, negatives = scores[positive], scores[order]
    before = np.searchsorted(negatives, own, "left"), np.searchsorted(negatives, own, "right")
    areas: Floats = np.empty(weights.shape[1])
    columns = max(1, _AT_ONCE // len(scores))
    for begin in range(0, weights.shape[1], columns):
        part = weights[:, begin : begin + columns]
        of_positives, of_negatives = part[positive], part[order]
        below = np.zeros((len(order) + 1, part.shape[1]))
        np.cumsum(of_negatives, axis=0, out=below[1:])
        wins = below[before[0]]
        wins += below[before[1]]
        wins *= of_positives
        pairs = of_positives.sum(axis=0) * of_negatives.sum(axis=0)
        with np.errstate(invalid="ignore"):
            areas[begin : begin + columns] = wins.sum(axis=0) / (2 * pairs)
    return areas


def scored_classes(classes: int) -> Sequence[int]:
    """The classes whose areas are averaged to an AUC: the second of two, else all of them."""
    return (1,) if classes == 2 else range(classes)


def _right(labels: Labels, logits: Logits) -> Floats:
    return metrics.correct(labels, logits).astype(np.float64)


def _mean(values: Floats, weights: Floats, total: float | None = None) -> Floats:
    with np.errstate(invalid="ignore"):
        means: Floats = values @ weights / (weights.sum(axis=0) if total is None else total)
    return means
