"""Subgroups: every metric by group, the worst one, and how far it lies behind everybody else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.evidence.claims import AT_A_POINT, METRICS
from benchharness.evidence.measuring import Estimate, estimate
from benchharness.evidence.worst import hits
from benchharness.randomness import numpy_generator
from benchharness.statistics.weighted import weighted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.evidence.populations import Group
    from benchharness.evidence.worst import Sample
    from benchharness.statistics.basis import Booleans, Floats, Patients

PERMUTATIONS = 2000
CONFIDENCE = 0.975
"""Of each one-sided bound: the two make an interval of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A group against all other volumes."""

    metric: str
    group: Group
    value: float
    """The group's metric minus that of the others."""
    low: float
    high: float
    """Ends of the 95 % interval."""
    p_adjusted: float
    """By Holm over all groups of all columns, for this metric."""
    worst: bool
    """Whether the group has the lowest value of its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroups:
    """What was found under one condition."""

    condition: str
    rows: tuple[tuple[Group, Mapping[str, Estimate]], ...]
    """Every metric of every group, all volumes first."""
    gaps: tuple[Gap, ...]


def subgroups(
    condition: str,
    samples: Mapping[str, tuple[Sample, float | None]],
    groups: Sequence[Group],
    everyone: Group,
    patients: Patients | None,
) -> Subgroups:
    """Measure every metric by group.

    Args:
        condition: In words.
        samples: What each metric is computed from, with its threshold where it has one.
        groups: Of all columns.
        everyone: All volumes as one group.
        patients: (N,), resampled with all their volumes; None where they are not known.
    """

    def measured(members: Booleans) -> dict[str, Estimate]:
        return {
            metric: estimate(
                sample,
                members,
                patients,
                metric,
                threshold=threshold,
                confidence=CONFIDENCE,
            )
            for metric, (sample, threshold) in samples.items()
        }

    rows = [(group, measured(group.members)) for group in (everyone, *groups)]
    others = [measured(~group.members) for group in groups]
    found: list[Gap] = []
    for metric in METRICS:
        if metric in samples:
            pairs = [
                (group, own[metric], other[metric])
                for (group, own), other in zip(rows[1:], others, strict=True)
            ]
            found += _gaps(metric, *samples[metric], pairs, patients)
    return Subgroups(condition=condition, rows=tuple(rows), gaps=tuple(found))


def _gaps(
    metric: str,
    sample: Sample,
    threshold: float | None,
    pairs: Sequence[tuple[Group, Estimate, Estimate]],
    patients: Patients | None,
) -> list[Gap]:
    known = [pair for pair in pairs if pair[1].low is not None and pair[2].low is not None]
    p_values = [
        permuted(metric, sample, threshold, group.members, patients) for group, _, _ in known
    ]
    adjusted = statistics.holm(p_values)
    gaps = [
        replace(between(metric, group, own, other), p_adjusted=p)
        for (group, own, other), p in zip(known, adjusted, strict=True)
    ]
    lowest = _lowest(known)
    return [replace(gap, worst=str(gap.group) in lowest) for gap in gaps]


def _lowest(known: Sequence[tuple[Group, Estimate, Estimate]]) -> set[str]:
    """The group with the lowest value of each column; small ones only where all are small."""
    found = {}
    for column in dict.fromkeys(group.column for group, _, _ in known):
        own = [(group, value) for group, value, _ in known if group.column == column]
        large = [pair for pair in own if not pair[0].small] or own
        found[column] = min(large, key=lambda pair: pair[1].value or 0.0)[0]
    return {str(group) for group in found.values()}


def between(metric: str, group: Group, own: Estimate, other: Estimate) -> Gap:
    """The difference of two independent numbers, with bounds recovered from theirs.

    The two have no patient in common unless one has volumes in both groups.
    """
    first, second = (
        (float(one.value or 0.0), float(one.low or 0.0), float(one.high or 0.0))
        for one in (own, other)
    )
    gap = first[0] - second[0]
    below, above = statistics.recovered(first, second)
    return Gap(
        metric=metric,
        group=group,
        value=gap,
        low=max(-1.0, gap - below),
        high=min(1.0, gap + above),
        p_adjusted=1.0,
        worst=False,
    )


def permuted(
    metric: str,
    sample: Sample,
    threshold: float | None,
    members: Booleans,
    patients: Patients | None,
) -> float:
    """How often a group drawn at random lies as far from the others, in (0, 1].

    A two-sided permutation test with `PERMUTATIONS` draws. Whole patients are drawn; one with
    volumes in both groups counts as two. (1 + draws at least as far)/(1 + draws), after Phipson and
    Smyth, Statistical Applications in Genetics and Molecular Biology 9, 2010.
    """
    names = np.arange(len(members)).astype(str) if patients is None else patients
    keys = np.char.add(names, np.where(members, "|in", "|out"))
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    inside = members[first].astype(np.float64)
    generator = numpy_generator("evidence", "permutations")
    draws = np.stack([inside, *(generator.permutation(inside) for _ in range(PERMUTATIONS))], 1)
    weights = draws[owner]
    gaps = _values(metric, sample, threshold, weights) - _values(
        metric, sample, threshold, 1 - weights
    )
    far = np.abs(gaps[1:]) >= abs(gaps[0]) - 1e-12
    # A draw that leaves one side without a class says nothing, and counts against the finding.
    return float((1 + (far | np.isnan(gaps[1:])).sum()) / (1 + PERMUTATIONS))


def _values(metric: str, sample: Sample, threshold: float | None, weights: Floats) -> Floats:
    if metric not in AT_A_POINT:
        return weighted(metric, sample.labels, sample.logits, weights)
    assert threshold is not None
    counted, right = hits(sample, metric, threshold)
    own = weights[counted]
    with np.errstate(invalid="ignore"):
        shares: Floats = right[counted].astype(np.float64) @ own / own.sum(axis=0)
    return shares
