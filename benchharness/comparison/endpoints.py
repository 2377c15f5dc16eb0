"""Endpoints: the mean of a metric of each model under each family, with a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchharness import statistics
from benchharness.comparison import contributions
from benchharness.comparison.groups import grouped
from benchharness.statistics import patients as by_patient
from benchharness.statistics import uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.comparison.alignment import Floats, PairedCell
    from benchharness.comparison.groups import Group
    from benchharness.comparison.pairing import Pairing
    from benchharness.comparison.places import Gap
    from benchharness.statistics.basis import Patients

Verdict = Literal["better", "worse", "indistinguishable", "not comparable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One model × dataset × family × metric: the mean over its cells, NEW against BASE."""

    model: str
    dataset: str
    family: str
    """`clean`, `L∞ attacks`, `MR artefacts`."""
    metric: str
    """One of `contributions.METRICS`."""
    cells: int
    """Cells that the mean is over."""
    of: int
    """Cells that BASE has, including those that were refused, are missing or suspect."""
    n: int
    """Common volumes; 0 where nothing could be paired."""
    total: int
    """Volumes of the whole split."""
    base: float | None
    """The mean of BASE on the common volumes; None where nothing could be paired."""
    new: float | None
    """The mean of NEW on the common volumes; None where nothing could be paired."""
    judgement: statistics.Judgement | None
    """None where the endpoint is not comparable."""
    reason: str
    """Why it is not comparable; empty where it is."""
    lost: bool
    """Whether it is not comparable because NEW lacks what BASE has."""
    complete: float | None
    """The detectable difference if all `of` cells and all `total` volumes had been measured,
    estimated from the cells that were; None where a single cell of several was."""

    @property
    def name(self) -> str:
        """Model, dataset, family and, unless it is accuracy, the metric in words."""
        return f"{self.model} · {self.dataset} · {self.title}"

    @property
    def title(self) -> str:
        """The family and, unless it is accuracy, the metric in words."""
        return self.family if self.metric == "accuracy" else f"{self.family} · {self.measure}"

    @property
    def measure(self) -> str:
        """The metric as sentences name it."""
        return contributions.METRICS[self.metric]

    @property
    def verdict(self) -> Verdict:
        """Of this endpoint."""
        return "not comparable" if self.judgement is None else self.judgement.outcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """An endpoint before it is judged."""

    group: Group
    metric: str
    cells: tuple[PairedCell, ...]
    """The cells that define the metric."""
    values: tuple[tuple[Floats, Floats], ...]
    """What each counted volume of each cell contributes to BASE and to NEW."""
    patients: Patients | None
    """Of the counted volumes; None where these count as independent."""
    reason: str
    """Why it cannot be judged; empty where it can."""
    lost: bool

    @property
    def units(self) -> Floats:
        """What each volume, or each patient, contributes to NEW minus BASE in each cell, (C, N)."""
        return np.stack(
            [uncertainty.per_patient(new - base, self.patients) for base, new in self.values]
        )

    @property
    def sample(self) -> statistics.Sample:
        """What its mean is over."""
        gaps = self.units.mean(axis=0)
        return statistics.Sample(
            values=gaps,
            unit="volumes" if self.patients is None else "patients",
            reach=contributions.reach(self.metric, gaps),
        )


def endpoints(
    pairing: Pairing, *, tolerance: float, alpha: float, judged_by: Sequence[str] = ("accuracy",)
) -> tuple[Endpoint, ...]:
    """Judge every model × dataset × family by each metric, adjusted by Holm over all of them.

    Where a store holds cells of one family on several sets of volumes, each set is an endpoint.
    """
    candidates = [
        _candidate(group, metric)
        for group in grouped(pairing.cells, pairing.gaps)
        for metric in judged_by
    ]
    found = statistics.judge(
        [one.sample for one in candidates if not one.reason], tolerance=tolerance, alpha=alpha
    )
    judgements = iter(found)
    return tuple(
        _endpoint(one, None if one.reason else next(judgements), tolerance) for one in candidates
    )


def _candidate(group: Group, metric: str) -> _Candidate:
    undefined = [contributions.missing(metric, cell) for cell in group.cells]
    cells = [cell for cell, (why, _) in zip(group.cells, undefined, strict=True) if not why]
    known = next((cell.patients for cell in group.cells if cell.patients is not None), None)
    counted = contributions.counted(metric, group.cells[0]) if group.cells else None
    reason, lost = "", False
    if group.refused or not group.cells:
        reason, lost = _reason(group.gaps), group.lost
    elif not cells:
        reason = f"{contributions.METRICS[metric]} is undefined: {undefined[0][0]}"
        lost = any(only_base for _, only_base in undefined)
    return _Candidate(
        group=group,
        metric=metric,
        cells=tuple(cells),
        values=tuple(
            (base[counted], new[counted])
            for base, new in (contributions.base_and_new(metric, cell) for cell in cells)
        ),
        patients=None if known is None else by_patient.with_several_volumes(known[counted]),
        reason=reason,
        lost=lost,
    )


def _endpoint(
    one: _Candidate, judgement: statistics.Judgement | None, tolerance: float
) -> Endpoint:
    group, of = one.group, len(one.cells) + len(one.group.gaps)
    n, total = (len(one.cells[0].ids), one.cells[0].total) if one.cells else (0, 0)
    means = [[float(own.mean()) for own in both] for both in one.values]
    base, new = (float(value) for value in np.mean(means, axis=0)) if means else (None, None)
    return Endpoint(
        model=group.place.model,
        dataset=group.dataset,
        family=group.place.family_title,
        metric=one.metric,
        cells=len(one.cells),
        of=of,
        n=n,
        total=total,
        base=base,
        new=new,
        judgement=judgement,
        reason=one.reason,
        lost=one.lost,
        complete=None
        if judgement is None
        else _complete(judgement, one.units, of, n / total, tolerance),
    )


def _reason(gaps: Sequence[Gap]) -> str:
    """The first two reasons with the first cell of each, and how many cells and reasons more."""
    cells: dict[str, list[str]] = {}
    for gap in gaps:
        cells.setdefault(gap.reason, []).append(gap.place.condition)
    named = [
        f"{own[0]}{f' and {len(own) - 1} more' if len(own) > 1 else ''}: {reason}"
        for reason, own in cells.items()
    ]
    return "; ".join(named[:2]) + (f"; {len(named) - 2} reasons more" if len(named) > 2 else "")


def _complete(
    judgement: statistics.Judgement, matrix: Floats, cells: int, part: float, tolerance: float
) -> float | None:
    """Estimate the detectable difference of all cells and volumes from a part of both.

    The matrix is (C, N) over volumes or patients, and `part` is the share of volumes it rests on.

    The variance of a mean over c cells is (v + (c − 1) w)/c with v the mean variance and w the mean
    covariance of two of them; the standard error is proportional to 1/√N.
    """
    measured, n = matrix.shape
    reach = (judgement.detectable - tolerance) * math.sqrt((n + 2) / (n / part + 2))
    if measured == cells:
        return tolerance + reach
    if measured < 2 or n < 2:
        return None
    covariance = np.cov(matrix)
    own = float(np.trace(covariance)) / measured
    shared = (float(covariance.sum()) - own * measured) / (measured * (measured - 1))
    now, then = (max(0.0, own + (c - 1) * shared) / c for c in (measured, cells))
    return tolerance + (reach * math.sqrt(then / now) if now > 0 else reach)
