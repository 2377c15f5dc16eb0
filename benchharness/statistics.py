"""Intervals, paired tests and rankings on stored predictions; pure NumPy and SciPy.

Volumes are taken as a random sample of independent volumes, and everything here says how sure such
a sample makes one. `docs/statistics.md` derives each method, says where it stops being valid and
shows its simulated coverage. An undefined result is None; none is ever NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special, stats

from benchharness import metrics
from benchharness.errors import BenchError, unknown_name
from benchharness.randomness import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.metrics import Labels, Logits

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Predicted = tuple[Labels, Logits]
    """Labels (N,) and logits (N, K) of one cell."""

LEVEL = 0.95
"""Confidence of an interval unless told otherwise."""

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then rest on 50 resamples each."""

SHARES = ("accuracy", "auc", "balanced_accuracy")
"""Metrics in [0, 1] for which more is better."""

BY_CLASS = ("auc", "balanced_accuracy")
"""Metrics that need every class, and whose resamples therefore keep the number of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float
    """Nominal coverage, in (0, 1)."""
    method: str
    """How it was found, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same volumes."""

    difference: float
    """The first model's value minus the second's."""
    interval: Interval
    """Of the difference."""
    p_value: float
    """Two-sided, of the hypothesis that the difference is 0."""
    method: str
    """The test, in words."""


# Intervals of one cell


def interval(metric: str, labels: Labels, logits: Logits, level: float = LEVEL) -> Interval | None:
    """The interval of a metric of `metrics.compute`, by the method that suits it.

    Args:
        metric: One of `metrics.NAMES`.
        labels: (N,), 0..K−1.
        logits: (N, K), finite.
        level: Nominal coverage, in (0, 1).

    Returns:
        Wilson's for accuracy, DeLong's on the logit scale for the AUC of two classes, otherwise a
        bootstrap's. None where `metrics.compute` gives no value, and for the calibration metrics of
        fewer than two volumes.

    Raises:
        BenchError: When there is no such metric.
    """
    if metric not in metrics.NAMES:
        raise unknown_name("metric", metric, metrics.NAMES)
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
    return _calibration_bootstrap(metric, labels, logits, level)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share.

    All θ with |k/n − θ| ≤ z √(θ(1 − θ)/n): Wilson, JASA 22, 1927. It is defined, and never of width
    0, at 0 and n successes; without any volume it is [0, 1], since nothing is known.

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
    square = _quantile(level) ** 2
    centre = (successes + square / 2) / (n + square)
    spread = math.sqrt(square * (successes * (n - successes) / n + square / 4)) / (n + square)
    # At the ends the bound is 0 or 1 exactly, which rounding would miss.
    low = 0.0 if successes == 0 else centre - spread
    high = 1.0 if successes == n else centre + spread
    return Interval(low=low, high=high, level=level, method="Wilson")


def delong(labels: Labels, scores: Floats, level: float = LEVEL) -> Interval | None:
    """DeLong's interval of a binary AUC on the logit scale.

    logit θ ± z·s/(θ(1 − θ)) with DeLong's variance s² (DeLong et al., Biometrics 44, 1988), which
    keeps it inside (0, 1) and near its level where θ is near 1 (Qin & Hotilovac, Statistical
    Methods in Medical Research 17, 2008). Where that variance vanishes or does not exist (perfect
    separation, all scores tied, one volume in a class) Newcombe's score interval takes its place.

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
    of_positives, of_negatives = _placements(positive, scores)
    area = float(of_positives.mean())
    deviation = math.sqrt(_variance_of_mean(of_positives) + _variance_of_mean(of_negatives))
    # Placements are multiples of 1/(2N); a smaller deviation than this is rounding.
    if min(len(of_positives), len(of_negatives)) < 2 or deviation < 1e-9 or not 0 < area < 1:
        return _newcombe(area, len(of_positives), len(of_negatives), level)
    return _on_logit_scale(area, deviation, level, "DeLong, logit scale")


def stratified_bootstrap(
    metric: str, labels: Labels, logits: Logits, level: float = LEVEL
) -> Interval:
    """Interval of AUC or balanced accuracy from resamples that keep the number in each class.

    logit θ ± z·s/(θ(1 − θ)), where s is the standard deviation over `RESAMPLES` resamples. Where
    none differs from the others, the mean over classes of Wilson's (balanced accuracy) or
    Newcombe's (AUC, one class against the rest) bounds takes its place, which is wider than needed.

    Args:
        metric: `auc` or `balanced_accuracy`.
        labels: (N,), every class with a volume.
        logits: (N, K), finite.
        level: Nominal coverage, in (0, 1).
    """
    value = float(_contributions(metric, labels, logits).mean())
    resampled = _resample(metric, labels, logits)
    deviation = float(resampled.std(ddof=1))
    if deviation < 1e-9 or not 0 < value < 1:
        return _mean_of_class_bounds(metric, labels, logits, level)
    return _on_logit_scale(value, deviation, level, "stratified bootstrap, logit scale")


def _calibration_bootstrap(metric: str, labels: Labels, logits: Logits, level: float) -> Interval:
    """Percentile bootstrap of `brier` and `nll`; for `ece` the basic one.

    A resample's ECE exceeds that of its sample, as the sample's exceeds the population's; the basic
    bootstrap (Davison & Hinkley, Bootstrap Methods and Their Application, 1997, 5.2) subtracts that
    bias instead of adding it.
    """
    low, high = _percentiles(_resample(metric, labels, logits), level)
    if metric != "ece":
        return Interval(low=low, high=high, level=level, method="percentile bootstrap")
    value = float(np.abs(metrics.calibration_gaps(labels, logits).mean(axis=0)).sum())
    low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
    return Interval(low=low, high=max(low, high), level=level, method="basic bootstrap")


def _mean_of_class_bounds(metric: str, labels: Labels, logits: Logits, level: float) -> Interval:
    found = []
    for k in range(logits.shape[1]):
        own = labels == k
        if metric == "auc":
            of_positives, of_negatives = _placements(own, _one_against_rest(logits, k))
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


def _on_logit_scale(value: float, deviation: float, level: float, method: str) -> Interval:
    centre = math.log(value / (1 - value))
    spread = _quantile(level) * deviation / (value * (1 - value))
    low, high = (0.5 * (1 + math.tanh(end / 2)) for end in (centre - spread, centre + spread))
    return Interval(low=low, high=high, level=level, method=method)


def _newcombe(area: float, positives: int, negatives: int, level: float) -> Interval:
    """Score interval of an AUC that needs no variance of the sample.

    All θ with |area − θ| ≤ z √V(θ), with Hanley and McNeil's variance for both numbers set to their
    mean: Newcombe, Statistics in Medicine 25, 2006, part 2, method 5.
    """
    z, half = _quantile(level), (positives + negatives) / 2 - 1

    def low(estimate: float) -> float:
        def excess(theta: float) -> float:
            spread = 1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta))
            variance = theta * (1 - theta) * spread / (positives * negatives)
            return (estimate - theta) ** 2 - z**2 * variance

        # At an estimate of 1 the end itself is a root too, and not the one sought.
        end = min(estimate, 1 - 1e-12)
        return 0.0 if estimate <= 0 else float(optimize.brentq(excess, 0.0, end))

    return Interval(low=low(area), high=1 - low(1 - area), level=level, method="Newcombe")


# Several cells on the same volumes


def mean_over_cells(
    metric: str, cells: Sequence[Predicted], level: float = LEVEL
) -> tuple[float, Interval]:
    """The unweighted mean of a metric over cells, volumes resampled once for all of them.

    The cells share their volumes, so that their errors are correlated and averaging many of them
    does not make the interval as narrow as that many more volumes would. Where no resample differs,
    the mean of the cells' own bounds takes its place, which is wider than needed.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        cells: Labels (N,) and logits (N, K) of each, of the same volumes in the same order.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    _check_shares(metric, cells)
    value = float(np.mean([_contributions(metric, *cell).mean() for cell in cells]))
    resampled = np.mean([_resample(metric, *cell) for cell in cells], axis=0)
    deviation = float(resampled.std(ddof=1))
    if deviation < 1e-9 or not 0 < value < 1:
        found = [one for cell in cells if (one := interval(metric, *cell, level)) is not None]
        return value, _mean_of_bounds(found, "mean over cells of their bounds")
    return value, _on_logit_scale(value, deviation, level, "bootstrap over volumes, logit scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSeeds:
    """A metric of one model over its training seeds."""

    mean: float
    deviation: float | None
    """Standard deviation over seeds of the metric; None for a single seed."""
    interval: Interval | None
    """Of the mean over all seeds and all volumes; None below three seeds."""
    missing: str
    """What an interval would need; empty when there is one."""


def over_seeds(metric: str, runs: Sequence[Predicted], level: float = LEVEL) -> OverSeeds:
    """The mean over training seeds, and how sure it is of other seeds and other volumes.

    Seeds and volumes are crossed random effects. With x the contribution of a volume under a seed,
    the variance of the grand mean is (MS_seeds + MS_volumes − MS_rest) / (S·N), and never less than
    (MS_seeds)/(S·N) or (MS_volumes)/(S·N); Student's t with S − 1 degrees of freedom, since the
    seeds are the scarcer (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4).

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        runs: Labels (N,) and logits (N, K) of each seed, of the same volumes in the same order.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the runs' labels differ, or the metric is undefined on them.
    """
    _check_shares(metric, runs)
    values = np.stack([_contributions(metric, *run) for run in runs])
    seeds, volumes = values.shape
    grand, by_seed, by_volume = values.mean(), values.mean(axis=1), values.mean(axis=0)
    deviation = float(by_seed.std(ddof=1)) if seeds > 1 else None
    if seeds < 3 or volumes < 2:
        lacking = (
            f"{seeds} training seed{'s' if seeds > 1 else ''}: an interval over seeds needs at "
            "least 3, so train with --seeds 0,1,2"
            if seeds < 3
            else "1 volume: an interval needs at least 2"
        )
        return OverSeeds(mean=float(grand), deviation=deviation, interval=None, missing=lacking)
    of_seeds = volumes * by_seed.var(ddof=1)
    of_volumes = seeds * by_volume.var(ddof=1)
    rest = np.square(values - by_seed[:, None] - by_volume + grand).sum()
    rest /= (seeds - 1) * (volumes - 1)
    variance = max(of_seeds + of_volumes - rest, of_seeds, of_volumes) / (seeds * volumes)
    spread = float(stats.t.ppf((1 + level) / 2, seeds - 1) * math.sqrt(variance))
    found = Interval(
        low=max(0.0, float(grand) - spread),
        high=min(1.0, float(grand) + spread),
        level=level,
        method=f"seeds × volumes, t with {seeds - 1} degrees of freedom",
    )
    return OverSeeds(mean=float(grand), deviation=deviation, interval=found, missing="")


# Two models on the same volumes


def mcnemar_exact(first: Booleans, second: Booleans, level: float = LEVEL) -> Comparison:
    """Compare two accuracies by the volumes on which only one model is right.

    Under the null these b and c volumes split as a fair coin does: McNemar, Psychometrika 12, 1947,
    with the exact binomial tail. The interval of (b − c)/n is Bonett and Price's (British Journal
    of Mathematical and Statistical Psychology 65, 2012): Wald's after one volume is added to each
    of b and c.

    Args:
        first: (N,), which volumes the first model classified correctly.
        second: (N,), the same volumes in the same order.
        level: Nominal coverage of the interval, in (0, 1).

    Raises:
        BenchError: When there are no volumes or not as many of both.
    """
    _check_paired(first, second)
    n, b, c = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    p_value = min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5)))
    centre = (b - c) / (n + 2)
    spread = _quantile(level) * math.sqrt(((b + c + 2) / (n + 2) - centre**2) / (n + 2))
    return Comparison(
        difference=(b - c) / n,
        interval=Interval(
            low=max(-1.0, centre - spread),
            high=min(1.0, centre + spread),
            level=level,
            method="Bonett–Price",
        ),
        p_value=p_value,
        method="exact McNemar",
    )


def delong_paired(
    labels: Labels, first: Floats, second: Floats, level: float = LEVEL
) -> Comparison | None:
    """Compare two binary AUCs on the same volumes.

    DeLong et al., Biometrics 44, 1988: the variance of the difference of the placements. Where it
    vanishes, the two intervals are combined as if independent; see `_combined`.

    Args:
        labels: (N,), 1 for positive volumes, 0 for negative ones.
        first: (N,), scores of the first model, larger for positives.
        second: (N,), scores of the second.
        level: Nominal coverage of the interval, in (0, 1).

    Returns:
        The comparison; None when a class has no volume.
    """
    _check_paired(first, second)
    positive = labels == 1
    found = (delong(labels, first, level), delong(labels, second, level))
    if found[0] is None or found[1] is None:
        return None
    one, other = _placements(positive, first), _placements(positive, second)
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    difference = float(gaps[0].mean())
    deviation = math.sqrt(sum(_variance_of_mean(gap) for gap in gaps))
    if min(map(len, gaps)) < 2 or deviation < 1e-9:
        return _combined(float(one[0].mean()), found[0], float(other[0].mean()), found[1])
    spread = _quantile(level) * deviation
    return Comparison(
        difference=difference,
        interval=Interval(
            low=max(-1.0, difference - spread),
            high=min(1.0, difference + spread),
            level=level,
            method="DeLong",
        ),
        p_value=float(2 * special.ndtr(-abs(difference) / deviation)),
        method="paired DeLong",
    )


def paired_bootstrap(
    metric: str, first: Sequence[Predicted], second: Sequence[Predicted], level: float = LEVEL
) -> Comparison:
    """Compare the means over cells of two models, volumes resampled once for all.

    The interval holds the middle of the resampled differences; the p-value is twice the smaller
    share of them on either side of 0, the observed one counted in. For accuracy two imagined
    volumes join the sample, one that each model alone gets right in every cell, as Bonett and Price
    do: without them a handful of discordant volumes on one side would pass for evidence.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        first: Labels (N,) and logits (N, K) of the first model's cells.
        second: The second model's, cell by cell on the same volumes in the same order.
        level: Nominal coverage of the interval, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    _check_shares(metric, [*first, *second])
    if len(first) != len(second):
        raise BenchError(
            f"a paired comparison needs the same cells of both models, got {len(first)} and "
            f"{len(second)}. Leave out the cells that only one of them has."
        )
    means = [
        np.mean([_contributions(metric, *c) for c in cells], axis=0) for cells in (first, second)
    ]
    if metric == "accuracy":
        gaps = np.concatenate([means[0] - means[1], [1.0, -1.0]])
        resampled = gaps @ _weights(np.zeros(len(gaps), dtype=np.int64)) / len(gaps)
    else:
        one, other = (
            np.mean([_resample(metric, *cell) for cell in cells], axis=0)
            for cells in (first, second)
        )
        resampled = one - other
        if resampled.std() < 1e-9:
            (value, found), (reference, against) = (
                mean_over_cells(metric, cells, level) for cells in (first, second)
            )
            return _combined(value, found, reference, against)
    low, high = _percentiles(resampled, level)
    tail = min(int((resampled <= 1e-12).sum()), int((resampled >= -1e-12).sum()))
    return Comparison(
        difference=float(means[0].mean() - means[1].mean()),
        interval=Interval(low=low, high=high, level=level, method="paired bootstrap"),
        p_value=min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)),
        method="paired bootstrap",
    )


def _combined(value: float, found: Interval, reference: float, against: Interval) -> Comparison:
    """Compare two values by their own intervals, as if they were independent.

    Zou & Donner, Statistics in Medicine 27, 2008: squared distances to the bounds that face each
    other add up. Paired values agree more than independent ones do, so this is wider than needed.
    """
    difference = value - reference
    below = math.hypot(value - found.low, against.high - reference)
    above = math.hypot(found.high - value, reference - against.low)
    towards_zero = below if difference > 0 else above
    deviation = towards_zero / _quantile(found.level)
    return Comparison(
        difference=difference,
        interval=Interval(
            low=max(-1.0, difference - below),
            high=min(1.0, difference + above),
            level=found.level,
            method="combined intervals",
        ),
        p_value=float(2 * special.ndtr(-abs(difference) / deviation)),
        method="combined intervals",
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values so that α holds for the whole family, in the order given.

    Holm, Scandinavian Journal of Statistics 6, 1979: the i-th smallest of m times (m − i + 1), made
    monotone and cut at 1. It holds under any dependence among the tests.
    """
    if not p_values:
        return ()
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(scaled, 1)
    return tuple(adjusted.tolist())


def minimum_detectable_difference(
    n: int, discordance: float, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest difference of two accuracies that n volumes would have shown.

    Solves n δ² = (z_{1−α/2} √ψ + z_power √(ψ − δ²))² for δ, with ψ the discordance: Connor,
    Biometrics 43, 1987.

    Args:
        n: Number of volumes.
        discordance: ψ, share of volumes on which exactly one model is right, in [0, 1].
        power: Chance to detect it, in (α/2, 1).
        alpha: Two-sided significance level.

    Returns:
        δ in (0, ψ]; None where not even all discordant volumes on one side would suffice.
    """
    z_alpha, z_power = float(special.ndtri(1 - alpha / 2)), float(special.ndtri(power))
    inside = n + z_power**2 - z_alpha**2
    if inside < 0 or discordance <= 0:
        return None
    delta = z_alpha * math.sqrt(n) + z_power * math.sqrt(inside)
    delta *= math.sqrt(discordance) / (n + z_power**2)
    return delta if delta <= discordance else None


# Many models


def rank_groups(values: Sequence[float], different: Booleans) -> tuple[int, ...]:
    """Rank models by groups that cannot be told apart from their best.

    Models are taken from the best to the worst. The best opens group 1; each that follows joins it
    until one comes that differs from the group's opener, which opens the next. So a group's opener
    differs from the opener of the one before, and no member differs from its own opener; a member
    may yet be indistinguishable from a neighbouring group's.

    Args:
        values: (M,), more is better.
        different: (M, M), symmetric, whether two models are told apart.

    Returns:
        The group of each model, 1 the best, in the order given.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    groups, opener, group = [0] * len(values), -1, 0
    for index in order:
        if opener < 0 or different[opener, index]:
            opener, group = index, group + 1
        groups[index] = group
    return tuple(groups)


def indistinguishable_groups(correct: Booleans, alpha: float = 0.05) -> tuple[int, ...]:
    """Rank models by accuracy in groups: exact McNemar on every pair, Holm over all pairs.

    Args:
        correct: (M, N), which of the same N volumes each of M models classified correctly.
        alpha: Chance that any two equal models are told apart.

    Returns:
        The group of each model, 1 the best; `rank_groups` says what a group means.
    """
    firsts, seconds = np.triu_indices(len(correct), k=1)
    tests = [mcnemar_exact(correct[i], correct[j]) for i, j in zip(firsts, seconds, strict=True)]
    different = np.zeros((len(correct), len(correct)), dtype=np.bool_)
    different[firsts, seconds] = np.array(holm([test.p_value for test in tests])) < alpha
    return rank_groups(correct.mean(axis=1).tolist(), different | different.T)


# Clinical reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of volumes with Wilson's interval."""

    value: float | None
    """In [0, 1]; None when no volume could count."""
    n: int
    """Number of volumes that could count."""
    interval: Interval


def rate(counted: Booleans, level: float = LEVEL) -> Rate:
    """The share of True among (N,) volumes."""
    n, k = len(counted), int(counted.sum())
    return Rate(value=k / n if n else None, n=n, interval=wilson(k, n, level))


def frozen_threshold(positive: Booleans, scores: Floats) -> float | None:
    """The threshold to freeze on clean validation volumes: the one of the largest Youden index.

    Youden, Cancer 3, 1950: sensitivity + specificity − 1. Halfway between two scores, so that one
    that comes back slightly changed stays on its side; of equally good ones the lowest, which
    misses the fewest positives.

    Args:
        positive: (N,), which volumes belong to the class.
        scores: (N,), the probability of the class, in [0, 1].

    Returns:
        A volume is called positive when its score exceeds this; None when all or none is positive.
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
        threshold: Frozen elsewhere; see `frozen_threshold`.
        level: Nominal coverage of the intervals, in (0, 1).
    """
    called = scores > threshold
    return rate(called[positive], level), rate(~called[~positive], level)


def confident_and_wrong(
    labels: Labels, logits: Logits, confidence: float = 0.9, level: float = LEVEL
) -> Rate:
    """Share of all volumes that are misclassified with at least this probability.

    Args:
        labels: (N,).
        logits: (N, K).
        confidence: The largest probability from which on a prediction counts as confident.
        level: Nominal coverage of the interval, in (0, 1).
    """
    confident = metrics.softmax(logits).max(axis=1, initial=0.0) >= confidence
    return rate(confident & ~metrics.correct(labels, logits), level)


# Resampling


def _contributions(metric: str, labels: Labels, logits: Logits) -> Floats:
    """What each volume contributes, (N,), so that the mean is the metric.

    For AUC and balanced accuracy the deviations from their class's mean, scaled to the whole: the
    first-order expansion, whose variance over volumes is the metric's.
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
    targets = (1,) if classes == 2 else range(classes)
    found = np.zeros(n)
    for k in targets:
        positive = labels == k
        of_positives, of_negatives = _placements(positive, _one_against_rest(logits, k))
        area = of_positives.mean()
        found[positive] += area + (of_positives - area) * n / len(of_positives)
        found[~positive] += area + (of_negatives - area) * n / len(of_negatives)
    return found / len(targets)


def _resample(metric: str, labels: Labels, logits: Logits) -> Floats:
    """The metric on every resample, (RESAMPLES,)."""
    weights = _weights(labels if metric in BY_CLASS else np.zeros_like(labels))
    if metric == "ece":
        gaps = metrics.calibration_gaps(labels, logits).T @ weights / len(labels)
        errors: Floats = np.abs(gaps).sum(axis=0)
        return errors
    if metric != "auc":
        means: Floats = _contributions(metric, labels, logits) @ weights / len(labels)
        return means
    targets = (1,) if logits.shape[1] == 2 else range(logits.shape[1])
    areas: list[Floats] = [
        _resampled_auc(labels == k, _one_against_rest(logits, k), weights) for k in targets
    ]
    mean: Floats = np.mean(areas, axis=0)
    return mean


def _resampled_auc(positive: Booleans, scores: Floats, weights: Floats) -> Floats:
    """Mann–Whitney's statistic of every resample, (R,), from one sort of the sample."""
    order = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    below = np.zeros((len(order) + 1, weights.shape[1]))
    np.cumsum(weights[order], axis=0, out=below[1:])
    own, negatives = scores[positive], scores[order]
    wins = below[np.searchsorted(negatives, own, "left")]
    wins += below[np.searchsorted(negatives, own, "right")]
    wins *= weights[positive]
    areas: Floats = wins.sum(axis=0) / (2 * len(own) * len(order))
    return areas


def _weights(strata: Labels) -> Floats:
    """How often each volume is in each resample, (N, RESAMPLES); each stratum keeps its size.

    They follow from the strata alone, so that all models and cells on the same volumes meet the
    same resamples.
    """
    return _drawn(strata.astype(np.int64).tobytes())


@lru_cache(maxsize=4)
def _drawn(strata_bytes: bytes) -> Floats:
    strata = np.frombuffer(strata_bytes, dtype=np.int64)
    generator = numpy_generator("statistics", "bootstrap")
    weights = np.empty((len(strata), RESAMPLES))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = generator.integers(len(members), size=(len(members), RESAMPLES))
        places = (drawn * RESAMPLES + np.arange(RESAMPLES)).ravel()
        counts = np.bincount(places, minlength=drawn.size)
        weights[members] = counts.reshape(drawn.shape)
    weights.setflags(write=False)
    return weights


def _placements(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative.

    DeLong's structural components by ranks: Sun & Xu, IEEE Signal Processing Letters 21, 2014. The
    mean of either is the AUC; ties count one half.
    """
    ranks = stats.rankdata(scores)
    of_positives = ranks[positive] - stats.rankdata(scores[positive])
    of_negatives = ranks[~positive] - stats.rankdata(scores[~positive])
    return of_positives / (~positive).sum(), 1 - of_negatives / positive.sum()


def _one_against_rest(logits: Logits, k: int) -> Floats:
    return metrics.softmax(logits)[:, k]


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def _percentiles(resampled: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _quantile(level: float) -> float:
    return float(special.ndtri((1 + level) / 2))


# Checks


def _check_shares(metric: str, cells: Sequence[Predicted]) -> None:
    if metric not in SHARES:
        raise unknown_name("metric", metric, SHARES)
    if not cells or len(cells[0][0]) == 0:
        raise BenchError(f"{metric} needs at least one cell with volumes, got none.")
    labels, logits = cells[0]
    if any(not np.array_equal(labels, other) for other, _ in cells[1:]):
        raise BenchError(
            "cells can be combined only on the same volumes in the same order, got labels that "
            "differ. Combine cells of one dataset and one --limit."
        )
    if metric in BY_CLASS and (reason := metrics.absent_classes(labels, logits.shape[1])):
        raise BenchError(f"{metric} is undefined: {reason}. Raise or leave out --limit.")


def _check_paired(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    if len(first) != len(second) or len(first) == 0:
        raise BenchError(
            f"a paired test needs the same volumes of both models, got {len(first)} and "
            f"{len(second)}. Leave out the volumes that only one of them has."
        )
