"""Intervals of one cell, and of means over cells on the same volumes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.statistics.basis import (
    BY_CLASS,
    LEVEL,
    Interval,
    check_metric,
    check_shares,
    quantile,
)
from benchharness.statistics.resampling import (
    contributions,
    one_against_rest,
    percentiles,
    placements,
    resample,
    variance_of_mean,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Floats, Predicted
    from benchharness.statistics.metrics import Labels, Logits


def interval(metric: str, labels: Labels, logits: Logits, level: float = LEVEL) -> Interval | None:
    """The interval of a metric of `metrics.compute`, by the method that suits the metric.

    Args:
        metric: One of `metrics.NAMES`.
        labels: (N,), 0..K−1.
        logits: (N, K), finite.
        level: Nominal coverage, in (0, 1).

    Returns:
        Wilson's for accuracy, DeLong's on the logit scale for the AUC of two classes, and a
        bootstrap's for all others. None where `metrics.compute` gives no value, and for calibration
        metrics of a single volume.

    Raises:
        BenchError: When the metric is unknown.
    """
    check_metric(metric)
    if len(labels) == 0:
        return None
    if metric == "accuracy":
        return wilson(int(metrics.correct(labels, logits).sum()), len(labels), level)
    if metric in BY_CLASS:
        if metrics.absent_classes(labels, logits.shape[1]):
            return None
        if metric == "auc" and logits.shape[1] == 2:
            return delong(labels, metrics.softmax(logits)[:, 1], level)
        return stratified_bootstrap(metric, labels, logits, level)
    if len(labels) < 2:
        return None
    bounds = calibration_bounds(metric, labels, logits, resample(metric, labels, logits), level)
    method = "basic bootstrap" if metric == "ece" else "percentile bootstrap"
    return Interval(low=bounds[0], high=bounds[1], level=level, method=method)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share.

    All θ with |k/n − θ| ≤ z √(θ(1 − θ)/n): Wilson, JASA 22, 1927. At 0 and n successes it is
    defined and its width is not 0. Without any volume it is [0, 1], since nothing is known.

    Args:
        successes: k, in 0..n.
        n: Number of volumes.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise BenchError(
            f"a share needs successes in 0..n, got {successes} of {n}. Count both on one sample."
        )
    if n == 0:
        return Interval(low=0.0, high=1.0, level=level, method="no volumes, nothing is known")
    square = quantile(level) ** 2
    centre = (successes + square / 2) / (n + square)
    spread = math.sqrt(square * (successes * (n - successes) / n + square / 4)) / (n + square)
    # At the ends the bound is exactly 0 or 1, which rounding would miss.
    low = 0.0 if successes == 0 else centre - spread
    high = 1.0 if successes == n else centre + spread
    return Interval(low=low, high=high, level=level, method="Wilson")


def delong(labels: Labels, scores: Floats, level: float = LEVEL) -> Interval | None:
    """DeLong's interval of a binary AUC on the logit scale.

    The interval is logit θ ± z·s/(θ(1 − θ)) with DeLong's variance s² (DeLong et al., Biometrics
    44, 1988). The logit scale keeps it inside (0, 1), and its coverage near the level where θ is
    near 1 (Qin & Hotilovac, Statistical Methods in Medical Research 17, 2008). Where the variance
    vanishes or does not exist (perfect separation, all scores tied, one volume in a class)
    Newcombe's score interval takes its place.

    Args:
        labels: (N,), 1 for positive volumes, 0 for negative ones.
        scores: (N,), larger for positives.
        level: Nominal coverage, in (0, 1).

    Returns:
        The interval; None when a class has no volume.
    """
    positive = labels == 1
    if positive.all() or not positive.any():
        return None
    of_positives, of_negatives = placements(positive, scores)
    area = float(of_positives.mean())
    deviation = math.sqrt(variance_of_mean(of_positives) + variance_of_mean(of_negatives))
    # Placements are multiples of 1/(2N); a deviation below this is rounding.
    if min(len(of_positives), len(of_negatives)) < 2 or deviation < 1e-9 or not 0 < area < 1:
        return _newcombe(area, len(of_positives), len(of_negatives), level)
    return on_logit_scale(area, deviation, level, "DeLong")


def stratified_bootstrap(
    metric: str, labels: Labels, logits: Logits, level: float = LEVEL
) -> Interval:
    """Interval of AUC or balanced accuracy from resamples that keep the size of each class.

    The interval is logit θ ± z·s/(θ(1 − θ)), where s is the standard deviation over `RESAMPLES`
    resamples. Where all resamples agree, the mean over classes of Wilson's bounds (balanced
    accuracy) or Newcombe's (AUC, one class against the rest) takes its place; it is wider than
    needed.

    Args:
        metric: `auc` or `balanced_accuracy`.
        labels: (N,), every class with a volume.
        logits: (N, K), finite.
        level: Nominal coverage, in (0, 1).
    """
    value = float(contributions(metric, labels, logits).mean())
    resampled = resample(metric, labels, logits)
    deviation = float(resampled.std(ddof=1))
    if deviation < 1e-9 or not 0 < value < 1:
        return _mean_of_class_bounds(metric, labels, logits, level)
    return on_logit_scale(value, deviation, level, "stratified bootstrap")


def mean_over_cells(
    metric: str, cells: Sequence[Predicted], level: float = LEVEL
) -> tuple[float, Interval]:
    """The unweighted mean of a metric over cells, volumes resampled once for all of them.

    Cells that share their volumes have correlated errors, so averaging ten of them does not narrow
    the interval as ten times the volumes would. Where all resamples agree, the mean of the cells'
    own bounds takes the interval's place; it is wider than needed.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        cells: Labels (N,) and logits (N, K) of each, of the same volumes in the same order.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    check_shares(metric, cells)
    value = float(np.mean([contributions(metric, *cell).mean() for cell in cells]))
    resampled = np.mean([resample(metric, *cell) for cell in cells], axis=0)
    deviation = float(resampled.std(ddof=1))
    if deviation < 1e-9 or not 0 < value < 1:
        found = [one for cell in cells if (one := interval(metric, *cell, level)) is not None]
        return value, _mean_of_bounds(found, "mean over cells of their bounds")
    return value, on_logit_scale(value, deviation, level, "bootstrap over volumes")


def calibration_bounds(
    metric: str, labels: Labels, logits: Logits, resampled: Floats, level: float
) -> tuple[float, float]:
    """The percentiles of resampled `brier` and `nll`; for `ece` the basic bootstrap's bounds.

    A resample's ECE exceeds the sample's on average, just as the sample's exceeds the population's.
    The basic bootstrap (Davison & Hinkley, Bootstrap Methods and Their Application, 1997, 5.2)
    subtracts that bias instead of adding it.
    """
    low, high = percentiles(resampled, level)
    if metric != "ece":
        return low, high
    value = float(np.abs(metrics.calibration_gaps(labels, logits).mean(axis=0)).sum())
    low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
    return low, max(low, high)


def on_logit_scale(
    value: float, deviation: float, level: float, method: str, *, multiple: float | None = None
) -> Interval:
    """The interval logit θ ± z·s/(θ(1 − θ)), which stays inside (0, 1).

    Args:
        value: θ, in (0, 1).
        deviation: s, the standard error of θ.
        level: Nominal coverage, in (0, 1).
        method: How s was found, in words.
        multiple: A quantile to use in place of the normal z, such as Student's t.
    """
    centre = math.log(value / (1 - value))
    multiple = quantile(level) if multiple is None else multiple
    spread = multiple * deviation / (value * (1 - value))
    low, high = (0.5 * (1 + math.tanh(end / 2)) for end in (centre - spread, centre + spread))
    return Interval(low=low, high=high, level=level, method=f"{method}, logit scale")


def _mean_of_class_bounds(metric: str, labels: Labels, logits: Logits, level: float) -> Interval:
    found = []
    for k in range(logits.shape[1]):
        own = labels == k
        if metric == "auc":
            of_positives, of_negatives = placements(own, one_against_rest(logits, k))
            area = float(of_positives.mean())
            found.append(_newcombe(area, len(of_positives), len(of_negatives), level))
        else:
            right = metrics.correct(labels, logits)
            found.append(wilson(int(right[own].sum()), int(own.sum()), level))
    return _mean_of_bounds(found, f"mean over classes of {found[0].method} bounds")


def _mean_of_bounds(found: Sequence[Interval], method: str) -> Interval:
    return Interval(
        low=float(np.mean([one.low for one in found])),
        high=float(np.mean([one.high for one in found])),
        level=found[0].level,
        method=method,
    )


def _newcombe(area: float, positives: int, negatives: int, level: float) -> Interval:
    """Score interval of an AUC that needs no variance of the sample.

    All θ with |area − θ| ≤ z √V(θ), with Hanley and McNeil's variance for both numbers set to their
    mean: Newcombe, Statistics in Medicine 25, 2006, part 2, method 5.
    """
    z, half = quantile(level), (positives + negatives) / 2 - 1

    def low(estimate: float) -> float:
        def excess(theta: float) -> float:
            spread = 1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta))
            variance = theta * (1 - theta) * spread / (positives * negatives)
            return (estimate - theta) ** 2 - z**2 * variance

        # At an estimate of 1 the end is a root as well, but not the one that is sought.
        end = min(estimate, 1 - 1e-12)
        return 0.0 if estimate <= 0 else float(optimize.brentq(excess, 0.0, end))

    return Interval(low=low(area), high=1 - low(1 - area), level=level, method="Newcombe")
