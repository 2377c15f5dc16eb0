"""The paired cells one by one. They explain a verdict; the endpoints decide it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.statistics import metrics, uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.comparison.alignment import PairedCell
    from benchharness.comparison.places import Place
    from benchharness.statistics.basis import Predicted

    Areas = tuple[float | None, float | None, statistics.Comparison | None]
    """The AUC of BASE, that of NEW and their comparison; None where a class has no volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell:
    """One cell of BASE and of NEW, and the tests of their difference."""

    place: Place
    n: int
    """Common volumes."""
    base: float
    """Accuracy of BASE on the common volumes."""
    new: float
    """Accuracy of NEW on the common volumes."""
    lost: float
    """Volumes that BASE has right and NEW wrong; a mean where there are several seeds."""
    won: float
    """Volumes that NEW has right and BASE wrong; a mean where there are several seeds."""
    accuracy: statistics.Comparison
    p_adjusted: float
    """The p-value for accuracy, adjusted by Holm over all cells."""
    base_auc: float | None
    """None where a class has no volume."""
    new_auc: float | None
    auc: statistics.Comparison | None
    auc_p_adjusted: float | None
    """The p-value for AUC, adjusted by Holm over all cells that have one."""


def compared_cells(cells: Sequence[PairedCell], level: float) -> tuple[ComparedCell, ...]:
    """Test every cell: McNemar or a bootstrap for accuracy, DeLong or a bootstrap for AUC."""
    accuracies = [_accuracy(cell, level) for cell in cells]
    areas = [_areas(cell, level) for cell in cells]
    adjusted = statistics.holm([found.p_value for found in accuracies])
    of_areas = iter(statistics.holm([f[2].p_value for f in areas if f[2] is not None]))
    return tuple(
        _compared(cell, accuracy, p_adjusted, own, None if own[2] is None else next(of_areas))
        for cell, accuracy, p_adjusted, own in zip(cells, accuracies, adjusted, areas, strict=True)
    )


def _compared(
    cell: PairedCell,
    accuracy: statistics.Comparison,
    p_adjusted: float,
    areas: Areas,
    auc_p_adjusted: float | None,
) -> ComparedCell:
    gaps = cell.gaps
    base_auc, new_auc, auc = areas
    return ComparedCell(
        place=cell.place,
        n=len(cell.ids),
        base=float(cell.right(cell.base).mean()),
        new=float(cell.right(cell.new).mean()),
        lost=float(np.abs(gaps[gaps < 0]).sum()),
        won=float(gaps[gaps > 0].sum()),
        accuracy=accuracy,
        p_adjusted=p_adjusted,
        base_auc=base_auc,
        new_auc=new_auc,
        auc=auc,
        auc_p_adjusted=auc_p_adjusted,
    )


def _single(cell: PairedCell) -> bool:
    """Whether one checkpoint is compared with one on independent volumes: exact tests apply."""
    return cell.patients is None and len(cell.base) == len(cell.new) == 1


def _accuracy(cell: PairedCell, level: float) -> statistics.Comparison:
    if _single(cell):
        new, base = (metrics.correct(cell.labels, own[0]) for own in (cell.new, cell.base))
        return statistics.mcnemar_exact(new, base, level)
    return _bootstrap("accuracy", cell, level)


def _areas(cell: PairedCell, level: float) -> Areas:
    classes = cell.base[0].shape[1]
    if "auc" in cell.undefined or metrics.absent_classes(cell.labels, classes):
        return None, None, None
    base, new = (
        float(np.mean([metrics.auc(cell.labels, own) for own in logits]))
        for logits in (cell.base, cell.new)
    )
    if classes == 2 and _single(cell):
        scores, against = (metrics.softmax(own[0])[:, 1] for own in (cell.new, cell.base))
        return base, new, statistics.delong_paired(cell.labels, scores, against, level)
    return base, new, _bootstrap("auc", cell, level)


def _bootstrap(metric: str, cell: PairedCell, level: float) -> statistics.Comparison:
    """A paired bootstrap over the seeds, each repeated so that both sides have as many."""
    count = math.lcm(len(cell.base), len(cell.new))
    new, base = (_repeated(cell, own, count) for own in (cell.new, cell.base))
    return uncertainty.paired_bootstrap(metric, new, base, cell.patients, level)


def _repeated(cell: PairedCell, logits: Sequence[metrics.Logits], count: int) -> list[Predicted]:
    return [(cell.labels, own) for own in logits] * (count // len(logits))
