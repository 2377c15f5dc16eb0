"""Intervals and paired tests that respect patients where the data names them.

Volumes of one patient resemble each other, so n of them say less than volumes of n patients would,
and an interval that takes them as independent is too narrow. Every function here takes `patients`,
which is None or (N,). Where some patient has several volumes, whole patients are resampled (see the
module `patients`). Otherwise the function does what its namesake over volumes does, in `intervals`,
`paired` or `seeds`.

Intervals of shares over G patients use Student's t with G − 1 degrees of freedom. With fewer than
about twenty patients all of this is rough.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness.statistics import intervals, metrics, paired, seeds
from benchharness.statistics import patients as by_patient
from benchharness.statistics.basis import (
    BY_CLASS,
    LEVEL,
    SHARES,
    Interval,
    check_metric,
    check_shares,
)
from benchharness.statistics.paired import Comparison
from benchharness.statistics.resampling import RESAMPLES, contributions, percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchharness.statistics.basis import Booleans, Floats, Patients, Predicted
    from benchharness.statistics.metrics import Labels, Logits
    from benchharness.statistics.seeds import OverSeeds


def interval(
    metric: str,
    labels: Labels,
    logits: Logits,
    patients: Patients | None,
    level: float = LEVEL,
) -> Interval | None:
    """The interval of a metric of `metrics.compute`.

    Over patients it is on the logit scale for shares, the percentiles of the resamples for `brier`
    and `nll`, and the basic bootstrap's for `ece`.

    Args:
        metric: One of `metrics.NAMES`.
        labels: (N,), 0..K−1.
        logits: (N, K), finite.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Returns:
        None where `intervals.interval` gives none, and for volumes of a single patient.

    Raises:
        BenchError: When the metric is unknown.
    """
    known = by_patient.with_several_volumes(patients)
    if known is None:
        return intervals.interval(metric, labels, logits, level)
    check_metric(metric)
    if by_patient.count(known) < 2 or (
        metric in BY_CLASS and metrics.absent_classes(labels, logits.shape[1])
    ):
        return None
    resampled = by_patient.resample(metric, [(labels, logits)], known)
    if metric in SHARES:
        value = metrics.compute(labels, logits)[0][metric]
        assert value is not None
        fewest = by_patient.count_behind(metric, labels, known)
        return _of_share(value, resampled, fewest, known, level)
    low, high = intervals.calibration_bounds(metric, labels, logits, resampled, level)
    return Interval(low=low, high=high, level=level, method=_method(known))


def share(counted: Booleans, patients: Patients | None, level: float = LEVEL) -> Interval:
    """The interval of the share of True among (N,) volumes; Wilson's where they are independent."""
    known = by_patient.with_several_volumes(patients)
    if known is None:
        return intervals.wilson(int(counted.sum()), len(counted), level)
    resampled = by_patient.resample_mean(counted.astype(np.float64), known)
    return _of_share(float(counted.mean()), resampled, by_patient.count(known), known, level)


def mean_over_cells(
    metric: str, cells: Sequence[Predicted], patients: Patients | None, level: float = LEVEL
) -> tuple[float, Interval]:
    """The mean of a share over cells, patients or volumes resampled once for all cells.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        cells: Labels (N,) and logits (N, K) of each, of the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    value, found = intervals.mean_over_cells(metric, cells, level)
    known = by_patient.with_several_volumes(patients)
    if known is None:
        return value, found
    resampled = by_patient.resample(metric, cells, known)
    fewest = by_patient.count_behind(metric, cells[0][0], known)
    return value, _of_share(value, resampled, fewest, known, level)


def over_seeds(
    metric: str, runs: Sequence[Predicted], patients: Patients | None, level: float = LEVEL
) -> OverSeeds:
    """The mean over training seeds, with an interval for other seeds and other patients.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        runs: Labels (N,) and logits (N, K) of each seed, of the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the runs' labels differ, or the metric is undefined on them.
    """
    return mean_over_seeds(metric, [[run] for run in runs], patients, level)


def mean_over_seeds(
    metric: str,
    runs: Sequence[Sequence[Predicted]],
    patients: Patients | None,
    level: float = LEVEL,
) -> OverSeeds:
    """The mean over training seeds of means over cells, as `over_seeds` otherwise.

    Seeds and patients are crossed as seeds and volumes are in `seeds.grand_mean`. A patient
    contributes the jackknife's pseudo-value. Student's t has one degree of freedom fewer than the
    smaller of the two numbers.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        runs: Labels (N,) and logits (N, K) of each seed's cells, of the same volumes.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the cells' labels differ, or the metric is undefined on them.
    """
    check_shares(metric, [cell for cells in runs for cell in cells])
    known = by_patient.with_several_volumes(patients)

    def means(of: Callable[..., Floats], *more: Patients) -> Floats:
        return np.stack([np.mean([of(metric, *c, *more) for c in cells], axis=0) for cells in runs])

    found = seeds.grand_mean(means(contributions), level)
    if known is None or found.interval is None:
        return found
    return _over_patients(found, means(by_patient.pseudo_values, known), level)


def share_over_seeds(
    counted: Sequence[Booleans], patients: Patients | None, level: float = LEVEL
) -> OverSeeds:
    """The mean over training seeds of the share of True, as `mean_over_seeds` otherwise.

    Args:
        counted: (N,) of each seed, of the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage, in (0, 1).
    """
    values = np.stack(counted).astype(np.float64)
    known = by_patient.with_several_volumes(patients)
    found = seeds.grand_mean(values, level)
    if known is None or found.interval is None:
        return found
    return _over_patients(found, np.stack([per_patient(own, known) for own in values]), level)


def _over_patients(by_volume: OverSeeds, values: Floats, level: float) -> OverSeeds:
    """The same mean with an interval from what patients contribute under each seed, (S, G)."""
    if not np.isfinite(values).all():
        missing = "a class rests on one patient alone: an interval needs at least 2 in each"
        return replace(by_volume, interval=None, missing=missing)
    freedom = min(values.shape) - 1
    spread = seeds.crossed_spread(values, freedom, level)
    found = Interval(
        low=max(0.0, by_volume.mean - spread),
        high=min(1.0, by_volume.mean + spread),
        level=level,
        method=f"seeds × patients, t with {freedom} degrees of freedom",
    )
    return replace(by_volume, interval=found)


def paired_bootstrap(
    metric: str,
    first: Sequence[Predicted],
    second: Sequence[Predicted],
    patients: Patients | None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare the means over cells of two models, patients or volumes resampled once for all cells.

    For accuracy two imagined patients join the sample, as two imagined volumes do in
    `paired.paired_bootstrap`. For other metrics p is 1 where all resamples agree: the patients say
    nothing.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        first: Labels (N,) and logits (N, K) of the first model's cells.
        second: The second model's, cell by cell on the same volumes in the same order.
        patients: (N,), or None.
        level: Nominal coverage of the interval, in (0, 1).
        resamples: How many; p is at least 2 / (resamples + 1).

    Raises:
        BenchError: When the models have different numbers of cells, the cells' labels differ, or
            the metric is undefined on them.
    """
    by_volume = paired.paired_bootstrap(metric, first, second, level, resamples)
    known = by_patient.with_several_volumes(patients)
    if known is None:
        return by_volume
    if metric == "accuracy":
        right = [np.mean([metrics.correct(*c) for c in cells], axis=0) for cells in (first, second)]
        resampled = by_patient.resample_gaps(right[0] - right[1], known, resamples)
    else:
        one, other = (
            by_patient.resample(metric, cells, known, resamples) for cells in (first, second)
        )
        resampled = one - other
    method = _method(known)
    if metric != "accuracy" and resampled.std() < 1e-9:
        bounds, p_value, how = (-1.0, 1.0), 1.0, "patients do not vary"
    else:
        bounds, p_value, how = percentiles(resampled, level), paired.two_sided(resampled), method
    return Comparison(
        difference=by_volume.difference,
        interval=Interval(low=bounds[0], high=bounds[1], level=level, method=how),
        p_value=p_value,
        method=f"paired {method}",
    )


def p_value_of_gaps(gaps: Floats, patients: Patients | None) -> float:
    """The p-value that `paired_bootstrap` gives for accuracy, from what it is computed of.

    Where no resample contradicts, it goes on below 2 / (R + 1) as the tail of a normal distribution
    with the resamples' mean and spread. Otherwise Holm's method over hundreds of pairs could tell
    no two models apart, whatever the volumes say.

    Args:
        gaps: (N,), the share of cells in which the first model is right about a volume, minus that
            of the second.
        patients: (N,), or None.
    """
    resampled = _resampled_gaps(gaps, by_patient.with_several_volumes(patients))
    found = paired.two_sided(resampled)
    spread = float(resampled.std())
    if found > 2 / (len(resampled) + 1) or spread == 0:
        return found
    return min(found, float(2 * stats.norm.sf(abs(resampled.mean()) / spread)))


def _resampled_gaps(gaps: Floats, known: Patients | None) -> Floats:
    return paired.resample_gaps(gaps) if known is None else by_patient.resample_gaps(gaps, known)


def per_patient(values: Floats, patients: Patients | None) -> Floats:
    """What each of G patients contributes to the mean of (N,) values, (G,).

    Any method for independent volumes can take these contributions. Where volumes are independent
    they are the values, (N,).
    """
    known = by_patient.with_several_volumes(patients)
    return values if known is None else by_patient.contributions(values, known)


def _of_share(
    value: float, resampled: Floats, fewest: int, patients: Patients, level: float
) -> Interval:
    """On the logit scale; where all resamples agree, Wilson's with patients for volumes."""
    deviation = float(resampled.std(ddof=1))
    if deviation < 1e-9 or not 0 < value < 1:
        bounds = intervals.wilson(round(value * fewest), fewest, level)
        return Interval(
            low=min(bounds.low, value),
            high=max(bounds.high, value),
            level=level,
            method=f"Wilson with {fewest} patients for volumes",
        )
    students = float(stats.t.ppf((1 + level) / 2, by_patient.count(patients) - 1))
    return intervals.on_logit_scale(value, deviation, level, _method(patients), multiple=students)


def _method(patients: Patients) -> str:
    return f"bootstrap over {by_patient.count(patients)} patients"
