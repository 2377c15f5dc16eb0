"""Paired cells → endpoints with verdicts, and the cells below them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchharness import metrics, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.comparison.pairing import Gap, PairedCell, Pairing, Place

    Floats = NDArray[np.float64]
    Predicted = tuple[NDArray[np.int64], NDArray[np.float32]]

Verdict = Literal["better", "worse", "indistinguishable", "not comparable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One model × dataset × family: the mean accuracy over its cells, NEW against BASE."""

    model: str
    dataset: str
    family: str
    """`clean`, `linf attacks`, `mr artefacts`."""
    cells: int
    """Cells that the mean is over."""
    of: int
    """Cells that BASE has, those included that were refused, are missing or suspect."""
    n: int
    """Common volumes; 0 where nothing could be paired."""
    total: int
    """Volumes of the whole split."""
    base: float | None
    """Mean accuracy of BASE on the common volumes; None where nothing could be paired."""
    new: float | None
    judgement: statistics.Judgement | None
    """None where the endpoint is not comparable."""
    reason: str
    """Why it is not comparable; empty where it is."""
    complete: float | None
    """The detectable difference had all `of` cells and all `total` volumes been measured, from the
    agreement among the cells that were; None where one cell of several cannot tell."""

    @property
    def name(self) -> str:
        """Model, dataset and family in words."""
        return f"{self.model} · {self.dataset} · {self.family}"

    @property
    def verdict(self) -> Verdict:
        """Of this endpoint."""
        return "not comparable" if self.judgement is None else self.judgement.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell:
    """One cell as it is shown below the endpoints; explains, and decides nothing."""

    place: Place
    n: int
    base: float
    """Accuracy of BASE on the common volumes."""
    new: float
    lost: float
    """Volumes that BASE has right and NEW wrong; a mean where there are several seeds."""
    won: float
    """Volumes that NEW has right and BASE wrong."""
    accuracy: statistics.Comparison
    p_adjusted: float
    """Of the accuracy, by Holm over all cells."""
    base_auc: float | None
    """None where a class has no volume."""
    new_auc: float | None
    auc: statistics.Comparison | None
    auc_p_adjusted: float | None


def endpoints(pairing: Pairing, *, tolerance: float, alpha: float) -> tuple[Endpoint, ...]:
    """Judge every model × dataset × family; together they are Holm's family of hypotheses."""
    cells: dict[tuple[str, str, str], list[PairedCell]] = {}
    gaps: dict[tuple[str, str, str], list[Gap]] = {}
    orders = {}
    for cell in pairing.cells:
        cells.setdefault(_group(cell.place), []).append(cell)
        orders[_group(cell.place)] = cell.place.order[:4]
    for gap in pairing.gaps:
        if gap.kind != "unreferenced":
            gaps.setdefault(_group(gap.place), []).append(gap)
            orders[_group(gap.place)] = gap.place.order[:4]
    matrices = {
        key: np.stack([_gaps(cell) for cell in own])
        for key, own in cells.items()
        if not any(gap.kind == "refused" for gap in gaps.get(key, ()))
        and len({cell.ids for cell in own}) == 1
    }
    means = [matrix.mean(axis=0) for matrix in matrices.values()]
    judged = statistics.judge(means, tolerance=tolerance, alpha=alpha)
    judgements = dict(zip(matrices, judged, strict=True))
    return tuple(
        _endpoint(
            key,
            cells.get(key, []),
            gaps.get(key, []),
            judgements.get(key),
            matrices.get(key),
            tolerance,
        )
        for key in sorted(orders, key=orders.__getitem__)
    )


def _group(place: Place) -> tuple[str, str, str]:
    return (place.model, place.dataset, place.family_title)


def _endpoint(
    key: tuple[str, str, str],
    cells: Sequence[PairedCell],
    gaps: Sequence[Gap],
    judgement: statistics.Judgement | None,
    matrix: Floats | None,
    tolerance: float,
) -> Endpoint:
    reason = ""
    if judgement is None:
        named = [f"{gap.place.condition}: {gap.reason}" for gap in gaps]
        if not named:
            named = ["its cells are on different volumes"]
        more = f" and {len(named) - 2} more" if len(named) > 2 else ""
        reason = "; ".join(named[:2]) + more
    total = cells[0].total if cells else 0
    return Endpoint(
        model=key[0],
        dataset=key[1],
        family=key[2],
        cells=len(cells),
        of=len(cells) + len(gaps),
        n=len(cells[0].ids) if cells else 0,
        total=total,
        base=float(np.mean([_right(c.labels, c.base).mean() for c in cells])) if cells else None,
        new=float(np.mean([_right(c.labels, c.new).mean() for c in cells])) if cells else None,
        judgement=judgement,
        reason=reason,
        complete=None
        if judgement is None or matrix is None
        else _complete(judgement, matrix, len(cells) + len(gaps), total, tolerance),
    )


def _complete(
    judgement: statistics.Judgement, matrix: Floats, cells: int, total: int, tolerance: float
) -> float | None:
    """The detectable difference of the whole matrix of cells (C, N), estimated from a part.

    The variance of a mean over c cells is (v + (c − 1) w)/c with v the mean variance and w the mean
    covariance of two of them; the standard error goes with 1/√N.
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


def _right(labels: NDArray[np.int64], logits: Sequence[NDArray[np.float32]]) -> Floats:
    """The share of training seeds that have each volume right, (N,)."""
    shares: Floats = np.mean([metrics.correct(labels, own) for own in logits], axis=0)
    return shares


def _gaps(cell: PairedCell) -> Floats:
    return _right(cell.labels, cell.new) - _right(cell.labels, cell.base)


def compared_cells(cells: Sequence[PairedCell], level: float) -> tuple[ComparedCell, ...]:
    """Test every cell: McNemar or a bootstrap for accuracy, DeLong or a bootstrap for AUC."""
    accuracies = [_accuracy(cell, level) for cell in cells]
    areas = [_areas(cell, level) for cell in cells]
    adjusted = statistics.holm([found.p_value for found in accuracies])
    of_areas = iter(statistics.holm([f[2].p_value for f in areas if f[2] is not None]))
    found = []
    for cell, accuracy, p_adjusted, (base_auc, new_auc, auc) in zip(
        cells, accuracies, adjusted, areas, strict=True
    ):
        gaps = _gaps(cell)
        found.append(
            ComparedCell(
                place=cell.place,
                n=len(cell.ids),
                base=float(_right(cell.labels, cell.base).mean()),
                new=float(_right(cell.labels, cell.new).mean()),
                lost=float(np.abs(gaps[gaps < 0]).sum()),
                won=float(gaps[gaps > 0].sum()),
                accuracy=accuracy,
                p_adjusted=p_adjusted,
                base_auc=base_auc,
                new_auc=new_auc,
                auc=auc,
                auc_p_adjusted=None if auc is None else next(of_areas),
            )
        )
    return tuple(found)


def _accuracy(cell: PairedCell, level: float) -> statistics.Comparison:
    if len(cell.base) == len(cell.new) == 1:
        new, base = (metrics.correct(cell.labels, own[0]) for own in (cell.new, cell.base))
        return statistics.mcnemar_exact(new, base, level)
    new_runs, base_runs = _repeated(cell)
    return statistics.paired_bootstrap("accuracy", new_runs, base_runs, level)


def _areas(
    cell: PairedCell, level: float
) -> tuple[float | None, float | None, statistics.Comparison | None]:
    classes = cell.base[0].shape[1]
    if metrics.absent_classes(cell.labels, classes):
        return None, None, None
    base, new = (
        float(np.mean([metrics.auc(cell.labels, own) for own in logits]))
        for logits in (cell.base, cell.new)
    )
    if classes == 2 and len(cell.base) == len(cell.new) == 1:
        scores, against = (metrics.softmax(own[0])[:, 1] for own in (cell.new, cell.base))
        return base, new, statistics.delong_paired(cell.labels, scores, against, level)
    new_runs, base_runs = _repeated(cell)
    return base, new, statistics.paired_bootstrap("auc", new_runs, base_runs, level)


def _repeated(cell: PairedCell) -> tuple[list[Predicted], list[Predicted]]:
    """NEW's and BASE's seeds, each repeated so that there are as many of both."""
    count = math.lcm(len(cell.base), len(cell.new))
    new, base = (
        [(cell.labels, own) for own in logits] * (count // len(logits))
        for logits in (cell.new, cell.base)
    )
    return new, base
