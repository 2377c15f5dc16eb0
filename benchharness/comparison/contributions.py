"""What each volume contributes to a metric of an endpoint: the mean of these is the metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics import clinical, metrics, resampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.comparison.alignment import Floats, Frozen, PairedCell
    from benchharness.statistics.basis import Booleans
    from benchharness.statistics.metrics import Labels, Logits

METRICS = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity at the frozen threshold",
}
"""What an endpoint can be judged by, and how sentences name it."""


def base_and_new(metric: str, cell: PairedCell) -> tuple[Floats, Floats]:
    """What each counted volume contributes to both sides, as means over training seeds.

    For AUC it is the first-order expansion of `resampling.contributions`.
    """
    if metric == "accuracy":
        return cell.right(cell.base), cell.right(cell.new)
    if metric == "sensitivity":
        of_base, of_new = cell.thresholds
        return _sensitivity(cell, cell.base, of_base), _sensitivity(cell, cell.new, of_new)
    base, new = (
        np.mean([resampling.contributions(metric, cell.labels, one) for one in own], axis=0)
        for own in (cell.base, cell.new)
    )
    return base, new


def counted(metric: str, cell: PairedCell) -> Booleans:
    """The volumes that a metric is over, (N,): of two classes sensitivity takes the second."""
    if metric == "sensitivity" and _classes(cell) == 2:
        positive: Booleans = cell.labels == 1
        return positive
    return np.ones(len(cell.labels), dtype=np.bool_)


def reach(metric: str, gaps: Floats) -> float:
    """What an imagined volume contributes: 1 or, if that is more, the most that a real one does."""
    return 1.0 if metric == "accuracy" else max(1.0, float(np.abs(gaps).max()))


def missing(metric: str, cell: PairedCell) -> tuple[str, bool]:
    """Why a metric is undefined in a cell, and whether BASE alone defines it.

    Returns:
        An empty reason where the metric is defined.
    """
    if metric == "accuracy":
        return "", False
    absent = metrics.absent_classes(cell.labels, _classes(cell))
    if metric == "sensitivity":
        return _without_thresholds(cell, absent)
    if absent:
        return absent, cell.every_class
    return cell.undefined.get(metric, ""), False


def _without_thresholds(cell: PairedCell, absent: str) -> tuple[str, bool]:
    needed = (1,) if _classes(cell) == 2 else range(_classes(cell))
    lacking = [
        any(own is None or any(own[k] is None for k in needed) for own in side)
        for side in cell.thresholds
    ]
    if any(lacking):
        named = " and ".join(
            name for name, lacks in zip(("BASE", "NEW"), lacking, strict=True) if lacks
        )
        return f"no clean cell of {named} has frozen thresholds", lacking == [False, True]
    unseen = absent if len(needed) > 1 or not (cell.labels == 1).any() else ""
    return unseen, bool(unseen) and cell.every_class


def _sensitivity(cell: PairedCell, logits: Sequence[Logits], frozen: Frozen) -> Floats:
    found = [
        _called(cell.labels, one, [0.5 if t is None else t for t in own or ()])
        for one, own in zip(logits, frozen, strict=True)
    ]
    mean: Floats = np.mean(found, axis=0)
    return mean


def _called(labels: Labels, logits: Logits, thresholds: Sequence[float]) -> Floats:
    """Whether each volume is called of its class, so weighted that classes count alike."""
    found = clinical.called(logits, thresholds)[np.arange(len(labels)), labels].astype(np.float64)
    classes = logits.shape[1]
    if classes == 2:
        return found
    shares = np.array([found[labels == k].mean() for k in range(classes)])
    sizes = np.bincount(labels, minlength=classes)
    weighted: Floats = shares.mean() + (found - shares[labels]) * len(labels) / (
        classes * sizes[labels]
    )
    return weighted


def _classes(cell: PairedCell) -> int:
    return int(cell.base[0].shape[1])
