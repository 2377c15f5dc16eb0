"""A metric of a sample on some of its volumes: the value, and one-sided bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness import statistics
from benchharness.evidence.claims import AT_A_POINT
from benchharness.evidence.worst import hits
from benchharness.statistics import metrics, uncertainty
from benchharness.statistics import patients as by_patient

if TYPE_CHECKING:
    from benchharness.evidence.worst import Sample
    from benchharness.statistics.basis import Booleans, Patients


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its bounds, or the reason why there is none."""

    value: float | None = None
    low: float | None = None
    """The truth is above this with the asked confidence."""
    high: float | None = None
    """The truth is below this with the asked confidence."""
    method: str = ""
    size: int = 0
    """Patients, or volumes where these are independent, that the number rests on."""
    unit: str = "volumes"
    gap: str = ""
    """Why a value or its bounds are missing; empty where they are not."""


def estimate(
    sample: Sample,
    members: Booleans,
    patients: Patients | None,
    metric: str,
    *,
    threshold: float | None,
    confidence: float,
) -> Estimate:
    """Measure a metric on a population.

    The bounds are the ends of the two-sided interval of level 2c − 1: each is passed by the truth
    with probability 1 − c, as is usual for a claim of "at least".

    Args:
        sample: Of N volumes.
        members: (N,), the population.
        patients: (N,), resampled with all their volumes; None where they are not known.
        metric: One of `claims.METRICS`.
        threshold: For `sensitivity` and `specificity`.
        confidence: c, in [0.5, 1).
    """
    level = 2 * confidence - 1
    if metric in AT_A_POINT:
        assert threshold is not None
        counted, right = hits(sample, metric, threshold)
        return _rate(counted & members, right, patients, level)
    labels, logits = sample.labels[members], sample.logits[members]
    own = None if patients is None else patients[members]
    values, undefined = metrics.compute(labels, logits)
    size, unit = _counted(len(labels), own)
    if values[metric] is None:
        return Estimate(size=size, unit=unit, gap=undefined[metric])
    found = uncertainty.interval(metric, labels, logits, own, level)
    return _estimate(values[metric], found, size, unit)


def _rate(counted: Booleans, right: Booleans, patients: Patients | None, level: float) -> Estimate:
    own = None if patients is None else patients[counted]
    size, unit = _counted(int(counted.sum()), own)
    if not counted.any():
        return Estimate(size=size, unit=unit, gap="no volume counts: all are of one class")
    if own is not None and by_patient.count(own) == 1 < len(own):
        return Estimate(
            value=float(right[counted].mean()), size=size, unit=unit, gap="one patient alone"
        )
    found = statistics.rate(right[counted], level, patients=own)
    return _estimate(found.value, found.interval, size, unit)


def _estimate(
    value: float | None, found: statistics.Interval | None, size: int, unit: str
) -> Estimate:
    if found is None:
        gap = "too few patients or volumes for an interval"
        return Estimate(value=value, size=size, unit=unit, gap=gap)
    return Estimate(
        value=value, low=found.low, high=found.high, method=found.method, size=size, unit=unit
    )


def _counted(volumes: int, patients: Patients | None) -> tuple[int, str]:
    if patients is None:
        return volumes, "volumes"
    return by_patient.count(patients), "patients"
