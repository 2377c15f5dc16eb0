"""Primary endpoints of a comparison: paired means, Holm's procedure, one verdict for each."""

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
"""Enough for Holm's far tails: at α = 0.05 over ten endpoints each end still rests on 25."""

_MANY = 2000
"""From here on the counts of every volume in every resample would take too much memory."""

POWER = 0.8
"""The chance of finding a difference that is called detectable."""

Outcome = Literal["better", "worse", "indistinguishable"]
Unit = Literal["volumes", "patients"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What one endpoint's mean is over."""

    values: Floats
    """What each volume, or each patient, contributes to the new minus the base value, (N,)."""
    unit: Unit = "volumes"
    """What is resampled."""
    reach: float = 1.0
    """What an imagined volume or patient contributes, up or down. More than 1 where a real one may
    contribute more, as to a metric that weights classes evenly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one endpoint, which depends on the others judged with it."""

    outcome: Outcome
    """`worse` and `better` only where the interval lies wholly beyond the tolerance."""
    difference: float
    """Mean paired difference, new minus base."""
    interval: Interval
    """Of the difference, at the level that Holm's procedure gave this endpoint."""
    p_value: float
    """Two-sided, for the hypothesis that the difference is within the tolerance; not adjusted."""
    p_adjusted: float
    """The same, adjusted by Holm's procedure over all endpoints."""
    detectable: float
    """The smallest difference that would have been told apart with 80 % power."""
    n: int
    """Number of volumes; of patients, where they are resampled."""
    unit: Unit = "volumes"
    """What was resampled."""


def judge(
    gaps: Sequence[Floats | Sample], *, tolerance: float = 0.0, alpha: float = 0.05
) -> tuple[Judgement, ...]:
    """Judge a family of paired mean differences; α bounds the chance of any false verdict.

    Each endpoint's mean is resampled over volumes, with two imagined volumes of +1 and −1 in the
    sample (see `paired_bootstrap`), or of ±`Sample.reach`. Patients may take the volumes' place.
    The p-value is for |difference| ≤ tolerance: twice the share of resamples within the tolerance's
    bound. Holm's procedure takes the endpoints in the order of their p-values. The i-th of m has
    its interval at level 1 − α/(m − i + 1) and is told apart when the interval lies wholly beyond
    the tolerance. After the first that is not, no other is, and the rest keep that level.

    The detectable difference is tolerance + (z_{1−a/2} + z_{0.8})·s with s the bootstrap's standard
    error and a the endpoint's share of α.

    Args:
        gaps: For each endpoint the new minus the base value of every volume, (N,), in [−1, 1], or a
            sample of something else.
        tolerance: The largest difference that does not matter, in [0, 1).
        alpha: The chance of any false verdict in the family, in (0, 1).

    Returns:
        A judgement of each endpoint, in the order given.

    Raises:
        BenchError: When an endpoint has no volumes, or a setting is out of its range.
    """
    samples = [own if isinstance(own, Sample) else Sample(values=own) for own in gaps]
    _check(samples, tolerance, alpha)
    resampled = [_resample(own) for own in samples]
    means = [float(own.values.mean()) for own in samples]
    p_values = [
        _p_value(mean, values, tolerance) for mean, values in zip(means, resampled, strict=True)
    ]
    shares = _shares_of_alpha(means, resampled, p_values, tolerance, alpha)
    found = []
    for own, mean, values, p_value, adjusted, (share, told) in zip(
        samples, means, resampled, p_values, holm(p_values), shares, strict=True
    ):
        low, high = percentiles(values, 1 - share)
        reach = float(special.ndtri(1 - share / 2) + special.ndtri(POWER)) * float(values.std())
        count = len(own.values)
        over = f" over {count} patients" if own.unit == "patients" else ""
        found.append(
            Judgement(
                outcome=("better" if mean > 0 else "worse") if told else "indistinguishable",
                difference=mean,
                interval=Interval(
                    low=low, high=high, level=1 - share, method=f"paired bootstrap{over}"
                ),
                p_value=p_value,
                p_adjusted=adjusted,
                detectable=tolerance + reach,
                n=count,
                unit=own.unit,
            )
        )
    return tuple(found)


def _resample(own: Sample) -> Floats:
    sample = np.concatenate([own.values, [own.reach, -own.reach]])
    if len(sample) > _MANY:
        # A mean depends only on how often each value occurs, which takes less memory.
        values, counts = np.unique(sample, return_counts=True)
        generator = numpy_generator("statistics", "endpoint", len(sample))
        drawn = generator.multinomial(len(sample), counts / len(sample), ENDPOINT_RESAMPLES)
        counted: Floats = drawn @ values / len(sample)
        return counted
    weights = draw_weights(np.zeros(len(sample), dtype=np.int64), ENDPOINT_RESAMPLES)
    means: Floats = sample @ weights / len(sample)
    return means


def _p_value(mean: float, resampled: Floats, tolerance: float) -> float:
    # Rounding moves equal means apart; a mean on the bound is not beyond it.
    inside = resampled >= -tolerance - 1e-12 if mean < 0 else resampled <= tolerance + 1e-12
    return min(1.0, 2 * (int(inside.sum()) + 1) / (len(resampled) + 1))


def _shares_of_alpha(
    means: Sequence[float],
    resampled: Sequence[Floats],
    p_values: Sequence[float],
    tolerance: float,
    alpha: float,
) -> list[tuple[float, bool]]:
    """The share of α that each endpoint is judged at, and whether it is told apart."""
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


def _check(samples: Sequence[Sample], tolerance: float, alpha: float) -> None:
    if not 0 <= tolerance < 1:
        raise BenchError(f"the tolerance must lie in [0, 1), got {tolerance:g}. Try 0.02.")
    if not 0 < alpha < 1:
        raise BenchError(f"alpha must lie between 0 and 1, got {alpha:g}. Try 0.05.")
    if any(len(own.values) == 0 for own in samples):
        raise BenchError("an endpoint needs volumes, got none. Run at least one cell of it.")
