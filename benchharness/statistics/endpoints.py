"""Primary endpoints of a comparison: paired means, Holm over them, one verdict each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from benchharness.errors import BenchError
from benchharness.randomness import numpy_generator
from benchharness.statistics.basis import Interval
from benchharness.statistics.paired import holm
from benchharness.statistics.resampling import draw_weights, percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Floats

ENDPOINT_RESAMPLES = 10_000
"""Holm's levels ask for the far tails: at α = 0.05 over ten endpoints one end still rests on 25."""

_MANY = 2000
"""More volumes than this would fill the memory with how often each is in each resample."""

POWER = 0.8
"""Chance to see the difference that is called detectable."""

Outcome = Literal["better", "worse", "indistinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One endpoint among the family it was judged with."""

    outcome: Outcome
    """`worse` and `better` only where the interval lies wholly beyond the tolerance."""
    difference: float
    """Mean paired difference, new minus base."""
    interval: Interval
    """Of the difference, at the level at which Holm's procedure judged this endpoint."""
    p_value: float
    """Two-sided, of the hypothesis that the difference is within the tolerance; not adjusted."""
    p_adjusted: float
    """The same, adjusted by Holm over the endpoints."""
    detectable: float
    """The difference that would have been found beyond the tolerance with 80 % power."""
    n: int
    """Number of volumes."""


def judge(
    gaps: Sequence[Floats], *, tolerance: float = 0.0, alpha: float = 0.05
) -> tuple[Judgement, ...]:
    """Judge a family of paired mean differences, none of them falsely with probability 1 − α.

    Each endpoint's mean is resampled over volumes, with two imagined ones of +1 and −1 in the
    sample (see `paired_bootstrap`). Its p-value is of |difference| ≤ tolerance: twice the share of
    resamples on this side of the tolerance's bound. Holm's procedure takes the endpoints by their
    p-values: the i-th of m has its interval at level 1 − α/(m − i + 1) and is told apart when that
    lies wholly beyond the tolerance; after the first that is not, none is, and all keep its level.

    The detectable difference is tolerance + (z_{1−a/2} + z_{0.8})·s with s the bootstrap's standard
    error and a the endpoint's share of α.

    Args:
        gaps: Of each endpoint, (N,), in [−1, 1]: per volume, the new minus the base value.
        tolerance: The difference that does not matter, in [0, 1).
        alpha: Chance of any false verdict in the family, in (0, 1).

    Returns:
        A judgement of each, in the order given.

    Raises:
        BenchError: When an endpoint has no volumes, or a setting is out of its range.
    """
    _check(gaps, tolerance, alpha)
    resampled = [_resample(own) for own in gaps]
    means = [float(own.mean()) for own in gaps]
    p_values = [
        _p_value(mean, values, tolerance) for mean, values in zip(means, resampled, strict=True)
    ]
    shares = _shares_of_alpha(means, resampled, p_values, tolerance, alpha)
    found = []
    for own, mean, values, p_value, adjusted, (share, told) in zip(
        gaps, means, resampled, p_values, holm(p_values), shares, strict=True
    ):
        low, high = percentiles(values, 1 - share)
        reach = float(special.ndtri(1 - share / 2) + special.ndtri(POWER)) * float(values.std())
        found.append(
            Judgement(
                outcome=("better" if mean > 0 else "worse") if told else "indistinguishable",
                difference=mean,
                interval=Interval(low=low, high=high, level=1 - share, method="paired bootstrap"),
                p_value=p_value,
                p_adjusted=adjusted,
                detectable=tolerance + reach,
                n=len(own),
            )
        )
    return tuple(found)


def _resample(gaps: Floats) -> Floats:
    sample = np.concatenate([gaps, [1.0, -1.0]])
    if len(sample) > _MANY:
        # The counts of equal gaps are all that a mean depends on, and they take less memory.
        values, counts = np.unique(sample, return_counts=True)
        generator = numpy_generator("statistics", "endpoint", len(sample))
        drawn = generator.multinomial(len(sample), counts / len(sample), ENDPOINT_RESAMPLES)
        counted: Floats = drawn @ values / len(sample)
        return counted
    weights = draw_weights(np.zeros(len(sample), dtype=np.int64), ENDPOINT_RESAMPLES)
    means: Floats = sample @ weights / len(sample)
    return means


def _p_value(mean: float, resampled: Floats, tolerance: float) -> float:
    # Means of whole numbers come out a rounding error apart; one on the bound is not beyond it.
    inside = resampled >= -tolerance - 1e-12 if mean < 0 else resampled <= tolerance + 1e-12
    return min(1.0, 2 * (int(inside.sum()) + 1) / (len(resampled) + 1))


def _shares_of_alpha(
    means: Sequence[float],
    resampled: Sequence[Floats],
    p_values: Sequence[float],
    tolerance: float,
    alpha: float,
) -> list[tuple[float, bool]]:
    """Of each endpoint the α it is judged at, and whether it is told apart there."""
    shares = [(alpha, False)] * len(means)
    order = sorted(range(len(means)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        share = alpha / (len(order) - place)
        low, high = percentiles(resampled[index], 1 - share)
        beyond = high < -tolerance if means[index] < 0 else low > tolerance
        if not beyond or p_values[index] > share:
            for rest in order[place:]:
                shares[rest] = (share, False)
            break
        shares[index] = (share, True)
    return shares


def _check(gaps: Sequence[Floats], tolerance: float, alpha: float) -> None:
    if not 0 <= tolerance < 1:
        raise BenchError(f"the tolerance must lie in [0, 1), got {tolerance:g}. Try 0.02.")
    if not 0 < alpha < 1:
        raise BenchError(f"alpha must lie between 0 and 1, got {alpha:g}. Try 0.05.")
    if any(len(own) == 0 for own in gaps):
        raise BenchError("an endpoint needs volumes, got none. Run at least one cell of it.")
