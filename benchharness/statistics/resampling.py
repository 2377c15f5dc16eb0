"""Resampling volumes: the draws, a metric under them, and what each volume contributes to it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness.randomness import numpy_generator
from benchharness.statistics import metrics
from benchharness.statistics.basis import BY_CLASS
from benchharness.statistics.weighted import scored_classes, weighted

if TYPE_CHECKING:
    from benchharness.statistics.basis import Booleans, Floats
    from benchharness.statistics.metrics import Labels, Logits

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then rest on 50 resamples each."""


def contributions(metric: str, labels: Labels, logits: Logits) -> Floats:
    """What each volume contributes to a metric, (N,): the mean of these is the metric.

    For AUC and balanced accuracy a volume contributes the metric plus its deviation from its
    class's mean, scaled to all volumes. This is the first-order expansion, whose variance over
    volumes is the metric's.
    """
    if metric == "brier":
        return metrics.brier_scores(labels, logits)
    if metric == "nll":
        return metrics.log_losses(labels, logits)
    right = metrics.correct(labels, logits).astype(np.float64)
    if metric == "accuracy":
        return right
    n, classes = len(labels), logits.shape[1]
    if metric == "balanced_accuracy":
        shares, counts = metrics.recalls(labels, logits), np.bincount(labels, minlength=classes)
        centred = (right - shares[labels]) * n / (classes * counts[labels])
        contributions: Floats = shares.mean() + centred
        return contributions
    targets = scored_classes(classes)
    found = np.zeros(n)
    for k in targets:
        positive = labels == k
        of_positives, of_negatives = placements(positive, one_against_rest(logits, k))
        area = of_positives.mean()
        found[positive] += area + (of_positives - area) * n / len(of_positives)
        found[~positive] += area + (of_negatives - area) * n / len(of_negatives)
    return found / len(targets)


def resample(metric: str, labels: Labels, logits: Logits, resamples: int = RESAMPLES) -> Floats:
    """The metric on every resample of the volumes, (R,)."""
    weights = draw_weights(labels if metric in BY_CLASS else np.zeros_like(labels), resamples)
    if metric != "balanced_accuracy":
        # Every resample has as many volumes as the sample.
        return weighted(metric, labels, logits, weights, total=len(labels))
    # Exact, since each class keeps its size; `weighted` would round the last bit differently.
    means: Floats = contributions(metric, labels, logits) @ weights / len(labels)
    return means


def draw_weights(strata: Labels, resamples: int = RESAMPLES) -> Floats:
    """How often each volume is in each resample, (N, R); each stratum keeps its size.

    The draws follow from the strata alone: all models and cells on the same volumes meet the same
    resamples.
    """
    return _drawn(strata.astype(np.int64).tobytes(), resamples)


@lru_cache(maxsize=4)
def _drawn(strata_bytes: bytes, resamples: int) -> Floats:
    strata = np.frombuffer(strata_bytes, dtype=np.int64)
    generator = numpy_generator("statistics", "bootstrap")
    weights = np.empty((len(strata), resamples))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = generator.integers(len(members), size=(len(members), resamples))
        places = (drawn * resamples + np.arange(resamples)).ravel()
        counts = np.bincount(places, minlength=drawn.size)
        weights[members] = counts.reshape(drawn.shape)
    weights.setflags(write=False)
    return weights


def placements(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """The share of negatives below each positive, and of positives above each negative.

    These are DeLong's structural components, found by ranks: Sun & Xu, IEEE Signal Processing
    Letters 21, 2014. The mean of either is the AUC; a tie counts one half.
    """
    ranks = stats.rankdata(scores)
    of_positives = ranks[positive] - stats.rankdata(scores[positive])
    of_negatives = ranks[~positive] - stats.rankdata(scores[~positive])
    return of_positives / (~positive).sum(), 1 - of_negatives / positive.sum()


def one_against_rest(logits: Logits, k: int) -> Floats:
    """Scores (N,) of class k: its probability."""
    return metrics.softmax(logits)[:, k]


def variance_of_mean(values: Floats) -> float:
    """Squared standard error of the mean of (N,) values; 0 for a single value."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def percentiles(resampled: Floats, level: float) -> tuple[float, float]:
    """The ends of the middle `level` of resampled values."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
