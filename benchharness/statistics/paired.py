"""Comparisons of two models on the same volumes, and adjustment for many of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from benchharness.errors import BenchError
from benchharness.statistics.basis import LEVEL, Interval, check_paired, check_shares, quantile
from benchharness.statistics.intervals import delong, mean_over_cells
from benchharness.statistics.resampling import (
    RESAMPLES,
    contributions,
    draw_weights,
    percentiles,
    placements,
    resample,
    variance_of_mean,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Booleans, Floats, Predicted
    from benchharness.statistics.metrics import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a paired test says of two models on the same volumes."""

    difference: float
    """The first model's value minus the second's."""
    interval: Interval
    """Of the difference."""
    p_value: float
    """Two-sided, for the hypothesis that the difference is 0."""
    method: str
    """The test, in words."""


def mcnemar_exact(first: Booleans, second: Booleans, level: float = LEVEL) -> Comparison:
    """Compare two accuracies by the volumes on which exactly one model is right.

    Let the first model alone be right on b volumes, the second on c. Under the null hypothesis they
    split like tosses of a fair coin: McNemar, Psychometrika 12, 1947, with the exact binomial tail.
    The interval of (b − c)/n is Bonett and Price's (British Journal of Mathematical and Statistical
    Psychology 65, 2012): Wald's with one volume added to each of b and c.

    Args:
        first: (N,), which volumes the first model classified correctly.
        second: (N,), the same volumes in the same order.
        level: Nominal coverage of the interval, in (0, 1).

    Raises:
        BenchError: When there are no volumes, or their numbers differ.
    """
    check_paired(first, second)
    n, b, c = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    p_value = min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5)))
    centre = (b - c) / (n + 2)
    spread = quantile(level) * math.sqrt(((b + c + 2) / (n + 2) - centre**2) / (n + 2))
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

    The variance is that of the difference of the placements: DeLong et al., Biometrics 44, 1988.
    Where it vanishes, the two intervals are combined as if they were independent (Zou & Donner,
    Statistics in Medicine 27, 2008).

    Args:
        labels: (N,), 1 for positive volumes, 0 for negative ones.
        first: (N,), scores of the first model, larger for positives.
        second: (N,), scores of the second.
        level: Nominal coverage of the interval, in (0, 1).

    Returns:
        The comparison; None when a class has no volume.

    Raises:
        BenchError: When there are no volumes, or their numbers differ.
    """
    check_paired(first, second)
    positive = labels == 1
    found = (delong(labels, first, level), delong(labels, second, level))
    if found[0] is None or found[1] is None:
        return None
    one, other = placements(positive, first), placements(positive, second)
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    difference = float(gaps[0].mean())
    deviation = math.sqrt(sum(variance_of_mean(gap) for gap in gaps))
    if min(map(len, gaps)) < 2 or deviation < 1e-9:
        return _combined(float(one[0].mean()), found[0], float(other[0].mean()), found[1])
    spread = quantile(level) * deviation
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
    metric: str,
    first: Sequence[Predicted],
    second: Sequence[Predicted],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare the means over cells of two models, volumes resampled once for all cells.

    The interval holds the middle of the resampled differences, and `two_sided` gives the p-value.
    For accuracy two imagined volumes join the sample, as with Bonett and Price: each model alone
    gets one of them right in every cell. Without them a handful of discordant volumes on one side
    would pass for evidence.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        first: Labels (N,) and logits (N, K) of the first model's cells.
        second: The second model's, cell by cell on the same volumes in the same order.
        level: Nominal coverage of the interval, in (0, 1).
        resamples: How many; p is at least 2 / (resamples + 1).

    Raises:
        BenchError: When the models have different numbers of cells, the cells' labels differ, or
            the metric is undefined on them.
    """
    check_shares(metric, [*first, *second])
    if len(first) != len(second):
        raise BenchError(
            f"a paired comparison needs the same cells of both models, got {len(first)} and "
            f"{len(second)}. Leave out the cells that only one of them has."
        )
    means = [
        np.mean([contributions(metric, *c) for c in cells], axis=0) for cells in (first, second)
    ]
    if metric == "accuracy":
        resampled = resample_gaps(means[0] - means[1], resamples)
    else:
        one, other = (
            np.mean([resample(metric, *cell, resamples) for cell in cells], axis=0)
            for cells in (first, second)
        )
        resampled = one - other
        if resampled.std() < 1e-9:
            (value, found), (reference, against) = (
                mean_over_cells(metric, cells, level) for cells in (first, second)
            )
            return _combined(value, found, reference, against)
    low, high = percentiles(resampled, level)
    return Comparison(
        difference=float(means[0].mean() - means[1].mean()),
        interval=Interval(low=low, high=high, level=level, method="paired bootstrap"),
        p_value=two_sided(resampled),
        method="paired bootstrap",
    )


def resample_gaps(gaps: Floats, resamples: int = RESAMPLES) -> Floats:
    """The mean of (N,) paired differences on every resample, (R,).

    Two imagined volumes join the sample, which differ by 1 and by −1.
    """
    gaps = np.concatenate([gaps, [1.0, -1.0]])
    strata = np.zeros(len(gaps), dtype=np.int64)
    resampled: Floats = gaps @ draw_weights(strata, resamples) / len(gaps)
    return resampled


def two_sided(resampled: Floats) -> float:
    """The p-value of no difference: twice the smaller share of resamples on either side of 0.

    The observed difference counts as one more resample.
    """
    tail = min(int((resampled <= 1e-12).sum()), int((resampled >= -1e-12).sum()))
    return min(1.0, 2 * (tail + 1) / (len(resampled) + 1))


def recovered(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float]:
    """How far the bounds of a difference lie below and above it, from those of its two terms.

    The squared distances to the bounds that face each other add up: the method of variance
    estimates recovery, Zou & Donner, Statistics in Medicine 27, 2008.

    Args:
        first: A value and its lower and upper bound.
        second: What is subtracted from it, independent of it.
    """
    (one, low, high), (other, other_low, other_high) = first, second
    return math.hypot(one - low, other_high - other), math.hypot(high - one, other - other_low)


def _combined(value: float, found: Interval, reference: float, against: Interval) -> Comparison:
    """Compare two values by their own intervals, as if they were independent.

    Paired values agree more than independent ones do, so the interval is wider than needed.
    """
    difference = value - reference
    below, above = recovered((value, found.low, found.high), (reference, against.low, against.high))
    towards_zero = below if difference > 0 else above
    deviation = towards_zero / quantile(found.level)
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
    """Adjust p-values so that α holds for the whole family; returned in the order given.

    The i-th smallest of m is multiplied by m − i + 1, then made monotone and cut at 1: Holm,
    Scandinavian Journal of Statistics 6, 1979. This holds under any dependence among the tests.
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
    """The smallest difference of two accuracies that n volumes can show.

    Solves n δ² = (z_{1−α/2} √ψ + z_power √(ψ − δ²))² for δ, with ψ the discordance: Connor,
    Biometrics 43, 1987.

    Args:
        n: Number of volumes.
        discordance: ψ, the share of volumes on which exactly one model is right, in [0, 1].
        power: Chance of detecting it, in (α/2, 1).
        alpha: Two-sided significance level.

    Returns:
        δ in (0, ψ]; None where even all discordant volumes on one side would not suffice.
    """
    z_alpha, z_power = float(special.ndtri(1 - alpha / 2)), float(special.ndtri(power))
    inside = n + z_power**2 - z_alpha**2
    if inside < 0 or discordance <= 0:
        return None
    delta = z_alpha * math.sqrt(n) + z_power * math.sqrt(inside)
    delta *= math.sqrt(discordance) / (n + z_power**2)
    return delta if delta <= discordance else None
