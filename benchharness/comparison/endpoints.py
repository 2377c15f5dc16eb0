"""Endpoints: the mean accuracy of each model under each family, with a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchharness import statistics
from benchharness.comparison.groups import grouped
from benchharness.statistics import uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.comparison.alignment import Floats
    from benchharness.comparison.groups import Group
    from benchharness.comparison.pairing import Pairing
    from benchharness.comparison.places import Gap

Verdict = Literal["better", "worse", "indistinguishable", "not comparable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One model × dataset × family: the mean accuracy over its cells, NEW against BASE."""

    model: str
    dataset: str
    family: str
    """`clean`, `L∞ attacks`, `MR artefacts`."""
    cells: int
    """Cells that the mean is over."""
    of: int
    """Cells that BASE has, including those that were refused, are missing or suspect."""
    n: int
    """Common volumes; 0 where nothing could be paired."""
    total: int
    """Volumes of the whole split."""
    base: float | None
    """Mean accuracy of BASE on the common volumes; None where nothing could be paired."""
    new: float | None
    """Mean accuracy of NEW on the common volumes; None where nothing could be paired."""
    judgement: statistics.Judgement | None
    """None where the endpoint is not comparable."""
    reason: str
    """Why it is not comparable; empty where it is."""
    complete: float | None
    """The detectable difference if all `of` cells and all `total` volumes had been measured,
    estimated from the cells that were; None where a single cell of several was."""

    @property
    def name(self) -> str:
        """Model, dataset and family in words."""
        return f"{self.model} · {self.dataset} · {self.family}"

    @property
    def verdict(self) -> Verdict:
        """Of this endpoint."""
        return "not comparable" if self.judgement is None else self.judgement.outcome


def endpoints(pairing: Pairing, *, tolerance: float, alpha: float) -> tuple[Endpoint, ...]:
    """Judge every model × dataset × family, adjusted by Holm over all of them.

    Where a store holds cells of one family on several sets of volumes, each set is an endpoint.
    """
    groups = grouped(pairing.cells, pairing.gaps)
    judged = [group for group in groups if group.cells and not group.refused]
    matrices = [np.stack([cell.gaps for cell in group.cells]) for group in judged]
    found = statistics.judge(
        [
            uncertainty.per_patient(matrix.mean(axis=0), group.cells[0].patients)
            for group, matrix in zip(judged, matrices, strict=True)
        ],
        tolerance=tolerance,
        alpha=alpha,
    )
    judgements = iter(zip(found, matrices, strict=True))
    return tuple(
        _endpoint(group, next(judgements) if group in judged else None, tolerance)
        for group in groups
    )


def _endpoint(
    group: Group, judged: tuple[statistics.Judgement, Floats] | None, tolerance: float
) -> Endpoint:
    cells, of = group.cells, len(group.cells) + len(group.gaps)
    total = cells[0].total if cells else 0
    reason, judgement, complete = "", None, None
    if judged is None:
        reason = _reason(group.gaps)
    else:
        judgement, matrix = judged
        complete = _complete(judgement, matrix, of, total, tolerance)
    means = [
        [float(cell.right(own).mean()) for own in (cell.base, cell.new)] for cell in group.cells
    ]
    base, new = (float(value) for value in np.mean(means, axis=0)) if cells else (None, None)
    return Endpoint(
        model=group.place.model,
        dataset=group.dataset,
        family=group.place.family_title,
        cells=len(cells),
        of=of,
        n=len(cells[0].ids) if cells else 0,
        total=total,
        base=base,
        new=new,
        judgement=judgement,
        reason=reason,
        complete=complete,
    )


def _reason(gaps: Sequence[Gap]) -> str:
    named = [f"{gap.place.condition}: {gap.reason}" for gap in gaps]
    return "; ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")


def _complete(
    judgement: statistics.Judgement, matrix: Floats, cells: int, total: int, tolerance: float
) -> float | None:
    """Estimate the detectable difference of the whole matrix of cells (C, N) from a part of it.

    The variance of a mean over c cells is (v + (c − 1) w)/c with v the mean variance and w the mean
    covariance of two of them; the standard error is proportional to 1/√N.
    """
    measured, n = matrix.shape
    reach = (judgement.detectable - tolerance) * math.sqrt((n + 2) / (total + 2))
    if measured == cells:
        return tolerance + reach
    if measured < 2 or n < 2:
        return None
    covariance = np.cov(matrix)
    own = float(np.trace(covariance)) / measured
    shared = (float(covariance.sum()) - own * measured) / (measured * (measured - 1))
    now, then = (max(0.0, own + (c - 1) * shared) / c for c in (measured, cells))
    return tolerance + (reach * math.sqrt(then / now) if now > 0 else reach)
