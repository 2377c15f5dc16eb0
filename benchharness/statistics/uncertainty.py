"""Statistics that respect patients: whole patients are resampled, not volumes.

Volumes of one patient resemble each other, so that n of them say less than n patients would, and
an interval that takes them for independent is too narrow. Every function here takes, beside what
its namesake in `statistics` takes, whom each volume shows; where that is not known, or every
patient has one volume, it is the namesake.

Patients are drawn with replacement and bring all their volumes (Davison & Hinkley, Bootstrap
Methods and Their Application, 1997, 3.8; Field & Welsh, Journal of the Royal Statistical Society B
69, 2007). Metrics that need every class keep the number of patients with each set of classes.
Intervals of shares use Student's t with one degree of freedom less than there are patients, since
those are what there is few of. With fewer than about twenty patients all of this is rough.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness import statistics
from benchharness.randomness import numpy_generator
from benchharness.statistics import BY_CLASS, LEVEL, RESAMPLES, SHARES, Interval, metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.statistics import Comparison, OverSeeds
    from benchharness.statistics.metrics import Labels, Logits

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Predicted = tuple[Labels, Logits]
    Patients = NDArray[np.str_] | None
    """Whom each volume shows, (N,); None where that is not known."""


def interval(
    metric: str, labels: Labels, logits: Logits, patients: Patients, level: float = LEVEL
) -> Interval | None:
    """The interval of a metric of `metrics.compute`.

    Shares have theirs on the logit scale, `brier` and `nll` the percentiles of the resamples, `ece`
    the basic bootstrap's, as in `statistics`.

    Args:
        metric: One of `metrics.NAMES`.
        labels: (N,), 0..K−1.
        logits: (N, K), finite.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Returns:
        None where `statistics.interval` gives none, and for volumes of a single patient.
    """
    if patients is None or _all_different(patients):
        return statistics.interval(metric, labels, logits, level)
    if len(np.unique(patients)) < 2 or (
        metric in BY_CLASS and metrics.absent_classes(labels, logits.shape[1])
    ):
        return None
    weights = _weights(patients, _strata(metric, labels))
    resampled = _weighted(metric, labels, logits, weights)
    value = _value(metric, labels, logits)
    if metric in SHARES:
        return _of_share(value, resampled, _fewest(metric, labels, patients), patients, level)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]).tolist()
    if metric == "ece":
        low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
        high = max(low, high)
    return Interval(low=low, high=high, level=level, method=_method(patients))


def share(counted: Booleans, patients: Patients, level: float = LEVEL) -> Interval:
    """The interval of the share of True among (N,) volumes; Wilson's where patients are unknown."""
    if patients is None or _all_different(patients):
        return statistics.wilson(int(counted.sum()), len(counted), level)
    weights = _weights(patients, np.zeros(len(counted), dtype=np.int64))
    resampled: Floats = counted @ weights / weights.sum(axis=0)
    count = len(np.unique(patients))
    return _of_share(float(counted.mean()), resampled, count, patients, level)


def mean_over_cells(
    metric: str, cells: Sequence[Predicted], patients: Patients, level: float = LEVEL
) -> tuple[float, Interval]:
    """The mean of a share over cells, patients resampled once for all of them.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        cells: Labels (N,) and logits (N, K) of each, of the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    value, found = statistics.mean_over_cells(metric, cells, level)
    if patients is None or _all_different(patients):
        return value, found
    labels = cells[0][0]
    resampled = _mean_resampled(metric, cells, patients)
    count = _fewest(metric, labels, patients)
    return value, _of_share(value, resampled, count, patients, level)


def over_seeds(
    metric: str, runs: Sequence[Predicted], patients: Patients, level: float = LEVEL
) -> OverSeeds:
    """The mean over training seeds, and how sure it is of other seeds and other patients.

    The crossed seeds × volumes of `statistics.over_seeds` with patients in the place of volumes.
    What a patient contributes is the jackknife's pseudo-value: with G patients, G·θ less G − 1
    times θ without that patient.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        runs: Labels (N,) and logits (N, K) of each seed, of the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: As `statistics.over_seeds`.
    """
    by_volume = statistics.over_seeds(metric, runs, level)
    if patients is None or _all_different(patients) or by_volume.interval is None:
        return by_volume
    values = np.stack([_pseudo_values(metric, *run, patients) for run in runs])
    if not np.isfinite(values).all():
        return statistics.OverSeeds(
            mean=by_volume.mean,
            deviation=by_volume.deviation,
            interval=None,
            missing="a class rests on one patient alone: an interval needs at least 2 in each",
        )
    seeds, count = values.shape
    grand, by_seed, by_patient = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_seeds = count * by_seed.var(ddof=1)
    of_patients = seeds * by_patient.var(ddof=1)
    rest = np.square(values - by_seed[:, None] - by_patient + grand).sum()
    rest /= (seeds - 1) * (count - 1)
    variance = max(of_seeds + of_patients - rest, of_seeds, of_patients) / (seeds * count)
    freedom = min(seeds, count) - 1
    spread = float(stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(variance))
    found = Interval(
        low=max(0.0, by_volume.mean - spread),
        high=min(1.0, by_volume.mean + spread),
        level=level,
        method=f"seeds × patients, t with {freedom} degrees of freedom",
    )
    return statistics.OverSeeds(
        mean=by_volume.mean, deviation=by_volume.deviation, interval=found, missing=""
    )


def paired_bootstrap(
    metric: str,
    first: Sequence[Predicted],
    second: Sequence[Predicted],
    patients: Patients,
    level: float = LEVEL,
) -> Comparison:
    """Compare the means over cells of two models, patients resampled once for all.

    As in `statistics.paired_bootstrap` two imagined ones join the sample for accuracy: patients of
    as many volumes as others have on average, one that each model alone gets right. Where no
    resample differs from another, the patients tell nothing: p is 1.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        first: Labels (N,) and logits (N, K) of the first model's cells.
        second: The second model's, cell by cell on the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage of the interval, in (0, 1).

    Raises:
        BenchError: As `statistics.paired_bootstrap`.
    """
    by_volume = statistics.paired_bootstrap(metric, first, second, level)
    if patients is None or _all_different(patients):
        return by_volume
    if metric == "accuracy":
        right = [np.mean([_right(*cell) for cell in cells], axis=0) for cells in (first, second)]
        resampled = _resampled_gaps(right[0] - right[1], patients)
    else:
        resampled = _mean_resampled(metric, first, patients)
        resampled = resampled - _mean_resampled(metric, second, patients)
        if resampled.std() < 1e-9:
            return _undecided(by_volume, patients, level)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]).tolist()
    tail = min(int((resampled <= 1e-12).sum()), int((resampled >= -1e-12).sum()))
    return statistics.Comparison(
        difference=by_volume.difference,
        interval=Interval(low=low, high=high, level=level, method=_method(patients)),
        p_value=min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)),
        method=f"paired {_method(patients)}",
    )


def per_patient(values: Floats, patients: Patients) -> Floats:
    """What each patient contributes to the mean of (N,) values, (G,).

    The mean over volumes plus the patient's deviations from it, scaled to the whole: the mean is
    the mean of `values`, and its variance over patients is that of a mean over whole patients. So
    whatever takes independent volumes can take these.
    """
    if patients is None or _all_different(patients):
        return values
    names, owner = np.unique(patients, return_inverse=True)
    mean = values.mean()
    summed = np.bincount(owner, weights=values - mean, minlength=len(names))
    contributions: Floats = mean + summed * len(names) / len(values)
    return contributions


def _of_share(
    value: float, resampled: Floats, fewest: int, patients: NDArray[np.str_], level: float
) -> Interval:
    """On the logit scale; where no resample differs, Wilson's with patients for volumes."""
    deviation, count = float(resampled.std(ddof=1)), len(np.unique(patients))
    if deviation < 1e-9 or not 0 < value < 1:
        bounds = statistics.wilson(round(value * fewest), fewest, level)
        return Interval(
            low=min(bounds.low, value),
            high=max(bounds.high, value),
            level=level,
            method=f"Wilson with {fewest} patients for volumes",
        )
    centre = math.log(value / (1 - value))
    spread = float(stats.t.ppf((1 + level) / 2, count - 1)) * deviation / (value * (1 - value))
    low, high = (0.5 * (1 + math.tanh(end / 2)) for end in (centre - spread, centre + spread))
    return Interval(low=low, high=high, level=level, method=f"{_method(patients)}, logit scale")


def _undecided(by_volume: Comparison, patients: NDArray[np.str_], level: float) -> Comparison:
    whole = Interval(low=-1.0, high=1.0, level=level, method="patients do not vary")
    return statistics.Comparison(
        difference=by_volume.difference,
        interval=whole,
        p_value=1.0,
        method=f"paired {_method(patients)}",
    )


def _method(patients: NDArray[np.str_]) -> str:
    return f"bootstrap over {len(np.unique(patients))} patients"


def _all_different(patients: NDArray[np.str_]) -> bool:
    return len(np.unique(patients)) == len(patients)


def _resampled_gaps(gaps: Floats, patients: NDArray[np.str_]) -> Floats:
    """The mean of (N,) gaps on every resample of the patients and two imagined ones."""
    _, owner, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    size = sizes.mean()
    summed = np.concatenate([np.bincount(owner, weights=gaps), [size, -size]])
    counts = _weights(np.arange(len(summed)).astype(str), np.zeros(len(summed), dtype=np.int64))
    resampled: Floats = summed @ counts / (np.concatenate([sizes, [size, size]]) @ counts)
    return resampled


def _fewest(metric: str, labels: Labels, patients: NDArray[np.str_]) -> int:
    """Patients that a metric rests on: all, or those of the rarest class."""
    if metric not in BY_CLASS:
        return len(np.unique(patients))
    return min(len(np.unique(patients[labels == k])) for k in np.unique(labels))


def _strata(metric: str, labels: Labels) -> Labels:
    return labels if metric in BY_CLASS else np.zeros_like(labels)


def _weights(patients: NDArray[np.str_], strata: Labels) -> Floats:
    """How often each volume is in each resample, (N, RESAMPLES)."""
    return _drawn(tuple(patients.tolist()), tuple(strata.tolist()))


@lru_cache(maxsize=4)
def _drawn(patients: tuple[str, ...], strata: tuple[int, ...]) -> Floats:
    """Draw patients within those that have the same set of strata, so that none of these is lost.

    The draws follow from patients and strata alone: all cells on the same volumes meet the same
    resamples.
    """
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    kinds = [
        tuple(sorted({strata[v] for v in np.flatnonzero(owner == p).tolist()}))
        for p in range(len(names))
    ]
    generator = numpy_generator("statistics", "patients")
    counts = np.empty((len(names), RESAMPLES))
    for kind in sorted(set(kinds)):
        members = np.flatnonzero([kind == other for other in kinds])
        even = np.full(len(members), 1 / len(members))
        counts[members] = generator.multinomial(len(members), even, size=RESAMPLES).T
    weights = counts[owner]
    weights.setflags(write=False)
    return weights


def _right(labels: Labels, logits: Logits) -> Floats:
    return metrics.correct(labels, logits).astype(np.float64)


def _value(metric: str, labels: Labels, logits: Logits) -> float:
    value = metrics.compute(labels, logits)[0][metric]
    assert value is not None
    return value


def _mean_resampled(metric: str, cells: Sequence[Predicted], patients: NDArray[np.str_]) -> Floats:
    weights = _weights(patients, _strata(metric, cells[0][0]))
    resampled: Floats = np.mean([_weighted(metric, *cell, weights) for cell in cells], axis=0)
    return resampled


def _pseudo_values(
    metric: str, labels: Labels, logits: Logits, patients: NDArray[np.str_]
) -> Floats:
    """The jackknife's, (G,); NaN where a class vanishes with a patient."""
    names, owner = np.unique(patients, return_inverse=True)
    count = len(names)
    without = (owner[:, None] != np.arange(count)).astype(np.float64)
    left = _weighted(metric, labels, logits, without)
    values: Floats = count * _value(metric, labels, logits) - (count - 1) * left
    return values


def _weighted(metric: str, labels: Labels, logits: Logits, weights: Floats) -> Floats:
    """A metric of volumes that count as often as their weights say, (R,) of (N, R).

    NaN where a class that the metric needs has no weight.
    """
    if metric == "auc":
        targets = (1,) if logits.shape[1] == 2 else range(logits.shape[1])
        scores = metrics.softmax(logits)
        areas: Floats = np.mean(
            [_area(labels == k, scores[:, k], weights) for k in targets], axis=0
        )
        return areas
    if metric == "balanced_accuracy":
        right = _right(labels, logits)
        classes = [labels == k for k in range(logits.shape[1])]
        recalls: Floats = np.mean([_mean(right[own], weights[own]) for own in classes], axis=0)
        return recalls
    if metric == "ece":
        gaps = metrics.calibration_gaps(labels, logits).T @ weights / weights.sum(axis=0)
        errors: Floats = np.abs(gaps).sum(axis=0)
        return errors
    each = {"accuracy": _right, "brier": metrics.brier_scores, "nll": metrics.log_losses}[metric]
    return _mean(each(labels, logits), weights)


def _mean(values: Floats, weights: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        means: Floats = values @ weights / weights.sum(axis=0)
    return means


def _area(positive: Booleans, scores: Floats, weights: Floats) -> Floats:
    """Mann–Whitney's statistic with weights: how often a positive outranks a negative, (R,)."""
    order = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    below = np.zeros((len(order) + 1, weights.shape[1]))
    np.cumsum(weights[order], axis=0, out=below[1:])
    own, negatives = scores[positive], scores[order]
    wins = below[np.searchsorted(negatives, own, "left")]
    wins += below[np.searchsorted(negatives, own, "right")]
    pairs = weights[positive].sum(axis=0) * weights[order].sum(axis=0)
    with np.errstate(invalid="ignore"):
        areas: Floats = (wins * weights[positive]).sum(axis=0) / (2 * pairs)
    return areas
