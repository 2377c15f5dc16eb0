"""Resampling whole patients: the draws, a metric under them, and what each patient contributes.

Patients are drawn with replacement and bring all their volumes (Davison & Hinkley, Bootstrap
Methods and Their Application, 1997, 3.8; Field & Welsh, Journal of the Royal Statistical Society B
69, 2007). For metrics that need every class, resamples keep the number of patients with each set of
classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchharness.randomness import numpy_generator
from benchharness.statistics import metrics
from benchharness.statistics.basis import BY_CLASS
from benchharness.statistics.resampling import RESAMPLES
from benchharness.statistics.weighted import weighted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Floats, Patients, Predicted
    from benchharness.statistics.metrics import Labels, Logits


def with_several_volumes(patients: Patients | None) -> Patients | None:
    """The patients, where some have several volumes; None where volumes are independent.

    Volumes count as independent where patients are unknown, and where each has one volume.
    """
    if patients is None or count(patients) == len(patients):
        return None
    return patients


def count(patients: Patients) -> int:
    """How many different patients there are."""
    return len(np.unique(patients))


def count_behind(metric: str, labels: Labels, patients: Patients) -> int:
    """Patients that a metric rests on: all, or those of the rarest class."""
    if metric not in BY_CLASS:
        return count(patients)
    return min(count(patients[labels == k]) for k in np.unique(labels))


def draw_weights(patients: Patients, strata: Labels, resamples: int = RESAMPLES) -> Floats:
    """How often each volume is in each resample, (N, R).

    Patients are drawn among those with the same set of strata, so that no resample loses a stratum.
    The draws follow from patients and strata alone: all cells on the same volumes meet the same
    resamples.

    Args:
        patients: (N,).
        strata: (N,), such as the classes.
        resamples: R.
    """
    return _drawn(tuple(patients.tolist()), tuple(strata.tolist()), resamples)


@lru_cache(maxsize=4)
def _drawn(patients: tuple[str, ...], strata: tuple[int, ...], resamples: int) -> Floats:
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    kinds = [
        tuple(sorted({strata[v] for v in np.flatnonzero(owner == p).tolist()}))
        for p in range(len(names))
    ]
    generator = numpy_generator("statistics", "patients")
    counts = np.empty((len(names), resamples))
    for kind in sorted(set(kinds)):
        members = np.flatnonzero([kind == other for other in kinds])
        even = np.full(len(members), 1 / len(members))
        counts[members] = generator.multinomial(len(members), even, size=resamples).T
    weights = counts[owner]
    weights.setflags(write=False)
    return weights


def resample(
    metric: str, cells: Sequence[Predicted], patients: Patients, resamples: int = RESAMPLES
) -> Floats:
    """The mean of a metric over cells of the same volumes on every resample, (R,)."""
    labels = cells[0][0]
    strata = labels if metric in BY_CLASS else np.zeros_like(labels)
    weights = draw_weights(patients, strata, resamples)
    resampled: Floats = np.mean([weighted(metric, *cell, weights) for cell in cells], axis=0)
    return resampled


def resample_mean(values: Floats, patients: Patients) -> Floats:
    """The mean of (N,) values on every resample, (RESAMPLES,)."""
    weights = draw_weights(patients, np.zeros(len(values), dtype=np.int64))
    resampled: Floats = values @ weights / weights.sum(axis=0)
    return resampled


def resample_gaps(gaps: Floats, patients: Patients, resamples: int = RESAMPLES) -> Floats:
    """The mean of (N,) paired differences on every resample, (R,).

    Two imagined patients with the average number of volumes join the sample: one whose volumes all
    differ by 1, and one whose volumes all differ by −1.
    """
    _, owner, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    size = sizes.mean()
    summed = np.concatenate([np.bincount(owner, weights=gaps), [size, -size]])
    everyone = np.arange(len(summed)).astype(str)
    counts = draw_weights(everyone, np.zeros(len(summed), dtype=np.int64), resamples)
    resampled: Floats = summed @ counts / (np.concatenate([sizes, [size, size]]) @ counts)
    return resampled


def pseudo_values(metric: str, labels: Labels, logits: Logits, patients: Patients) -> Floats:
    """The jackknife's pseudo-values of G patients, (G,).

    Each is G·θ − (G − 1)·θ₋ᵢ, where θ₋ᵢ is the metric without patient i. NaN where a class vanishes
    with the patient.
    """
    names, owner = np.unique(patients, return_inverse=True)
    without = (owner[:, None] != np.arange(len(names))).astype(np.float64)
    left = weighted(metric, labels, logits, without)
    value = metrics.compute(labels, logits)[0][metric]
    assert value is not None
    values: Floats = len(names) * value - (len(names) - 1) * left
    return values


def contributions(values: Floats, patients: Patients) -> Floats:
    """What each patient contributes to the mean of (N,) values, (G,).

    A patient contributes the mean plus the sum of its volumes' deviations from it, scaled to all
    volumes. The contributions average to the mean of `values`, and their variance over patients is
    that of the mean when whole patients are drawn.
    """
    names, owner = np.unique(patients, return_inverse=True)
    mean = values.mean()
    summed = np.bincount(owner, weights=values - mean, minlength=len(names))
    contributed: Floats = mean + summed * len(names) / len(values)
    return contributed
