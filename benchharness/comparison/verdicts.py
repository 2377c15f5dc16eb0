"""Paired cells → endpoints with verdicts, and the cells below them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchharness import statistics
from benchharness.statistics import metrics, uncertainty

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
    """Judge every model × dataset × family; together they are Holm's family of hypotheses.

    Where a store holds cells of one family on several sets of volumes, each set is an endpoint.
    """
    groups = _groups(pairing)
    judged = [group for group in groups if group.cells and not group.refused]
    matrices = [np.stack([_gaps(cell) for cell in group.cells]) for group in judged]
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
        _endpoint(group, None if group not in judged else next(judgements), tolerance)
        for group in groups
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """The cells of one endpoint, and what it lacks."""

    place: Place
    """Of any of them."""
    dataset: str
    cells: tuple[PairedCell, ...]
    gaps: tuple[Gap, ...]

    @property
    def refused(self) -> bool:
        return any(gap.kind == "refused" for gap in self.gaps)


def _groups(pairing: Pairing) -> list[_Group]:
    cells: dict[tuple[str, str, str], dict[tuple[str, ...], list[PairedCell]]] = {}
    gaps: dict[tuple[str, str, str], list[Gap]] = {}
    places = {}
    for cell in pairing.cells:
        key = (cell.place.model, cell.place.dataset, cell.place.family_title)
        cells.setdefault(key, {}).setdefault(cell.ids, []).append(cell)
        places[key] = cell.place
    for gap in pairing.gaps:
        if gap.kind != "unreferenced":
            key = (gap.place.model, gap.place.dataset, gap.place.family_title)
            gaps.setdefault(key, []).append(gap)
            places.setdefault(key, gap.place)
    found = []
    for key in sorted(places, key=lambda key: places[key].order[:4]):
        # What is missing is counted once, where most volumes are.
        lacking = tuple(gaps.get(key, ()))
        sets = sorted(cells.get(key, {}).items(), key=lambda item: -len(item[0])) or [((), [])]
        for ids, own in sets:
            subset = f" ({len(ids)} of {own[0].total})" if len(sets) > 1 else ""
            group = _Group(
                place=places[key], dataset=key[1] + subset, cells=tuple(own), gaps=lacking
            )
            found.append(group)
            lacking = tuple(gap for gap in lacking if gap.kind == "refused")
    return found


def _endpoint(
    group: _Group, judged: tuple[statistics.Judgement, Floats] | None, tolerance: float
) -> Endpoint:
    cells, gaps = group.cells, group.gaps
    total, of = cells[0].total if cells else 0, len(cells) + len(gaps)
    reason, judgement, complete = "", None, None
    if judged is None:
        named = [f"{gap.place.condition}: {gap.reason}" for gap in gaps]
        reason = "; ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    else:
        judgement, matrix = judged
        complete = _complete(judgement, matrix, of, total, tolerance)
    means = [
        [float(_right(cell.labels, own).mean()) for own in (cell.base, cell.new)] for cell in cells
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
    if cell.patients is None and len(cell.base) == len(cell.new) == 1:
        new, base = (metrics.correct(cell.labels, own[0]) for own in (cell.new, cell.base))
        return statistics.mcnemar_exact(new, base, level)
    new_runs, base_runs = _repeated(cell)
    return uncertainty.paired_bootstrap("accuracy", new_runs, base_runs, cell.patients, level)


def _areas(
    cell: PairedCell, level: float
) -> tuple[float | None, float | None, statistics.Comparison | None]:
    classes = cell.base[0].shape[1]
    if not cell.has_auc or metrics.absent_classes(cell.labels, classes):
        return None, None, None
    base, new = (
        float(np.mean([metrics.auc(cell.labels, own) for own in logits]))
        for logits in (cell.base, cell.new)
    )
    if cell.patients is None and classes == 2 and len(cell.base) == len(cell.new) == 1:
        scores, against = (metrics.softmax(own[0])[:, 1] for own in (cell.new, cell.base))
        return base, new, statistics.delong_paired(cell.labels, scores, against, level)
    new_runs, base_runs = _repeated(cell)
    return base, new, uncertainty.paired_bootstrap("auc", new_runs, base_runs, cell.patients, level)


def _repeated(cell: PairedCell) -> tuple[list[Predicted], list[Predicted]]:
    """NEW's and BASE's seeds, each repeated so that there are as many of both."""
    count = math.lcm(len(cell.base), len(cell.new))
    new, base = (
        [(cell.labels, own) for own in logits] * (count // len(logits))
        for logits in (cell.new, cell.base)
    )
    return new, base
