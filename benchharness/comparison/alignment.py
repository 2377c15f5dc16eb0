"""The predictions of both sides, brought to the volumes that they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.comparison.places import Gap, Place
from benchharness.statistics import metrics
from benchharness.statistics import patients as by_patient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchharness.statistics.metrics import Labels, Logits
    from benchharness.store.predictions import Predictions

    Floats = NDArray[np.float64]
    Frozen = tuple[list[float | None] | None, ...]
    """The thresholds of each class, for each training seed; None where none were kept."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedCell:
    """The same measurement of two checkpoints, or of several training seeds of each."""

    place: Place
    total: int
    """How many volumes the split holds."""
    ids: tuple[str, ...]
    """The common volumes."""
    labels: Labels
    """Shape (N,)."""
    patients: NDArray[np.str_] | None
    """Shape (N,), the patient of each volume; None where volumes count as independent."""
    every_class: bool
    """Whether BASE's own volumes, of which the common ones may be a part, show every class."""
    undefined: Mapping[str, str]
    """Metrics that would mislead in this cell whatever the predictions are, and why."""
    thresholds: tuple[Frozen, Frozen]
    """What the clean cells of BASE and of NEW froze, for each training seed."""
    base: tuple[Logits, ...]
    """Logits (N, K) of every training seed of BASE."""
    new: tuple[Logits, ...]
    """Logits (N, K) of every training seed of NEW."""

    def right(self, logits: Sequence[Logits]) -> Floats:
        """The share of training seeds that classify each volume correctly, (N,)."""
        shares: Floats = np.mean([metrics.correct(self.labels, own) for own in logits], axis=0)
        return shares

    @property
    def gaps(self) -> Floats:
        """For each volume NEW's share of correct training seeds minus BASE's, (N,)."""
        return self.right(self.new) - self.right(self.base)


def aligned(
    place: Place,
    total: int,
    base: Sequence[Predictions],
    new: Sequence[Predictions],
    *,
    undefined: Mapping[str, str],
    thresholds: tuple[Frozen, Frozen],
) -> PairedCell | Gap:
    """Bring all predictions to the common volumes in BASE's order.

    Args:
        place: Of the cell.
        total: How many volumes the split holds.
        base: Predictions of every training seed of BASE.
        new: Predictions of every training seed of NEW.
        undefined: Metrics that would mislead in this cell, and why.
        thresholds: What the clean cells of BASE and of NEW froze, for each training seed.

    Returns:
        A gap that says why where the two are not the same volumes, or a subset of one of them.
    """
    everyone = [*base, *new]
    names = [found.ids.tolist() for found in everyone]
    common = set(names[0]).intersection(*names[1:])
    ids = tuple(name for name in names[0] if name in common)
    positions = [{name: index for index, name in enumerate(own)} for own in names]
    reason = ""
    if any(len(where) != len(own) for where, own in zip(positions, names, strict=True)):
        reason = "a volume's id occurs twice"
    elif len(ids) < min(map(len, names)) or not ids:
        reason = f"volumes: only {len(ids)} of {len(names[0])} and {len(names[-1])} are the same"
    elif len({found.logits.shape[1] for found in everyone}) > 1:
        reason = f"classes {base[0].logits.shape[1]} → {new[0].logits.shape[1]}"
    if reason:
        return Gap(place=place, kind="refused", reason=reason)
    rows = [[where[name] for name in ids] for where in positions]
    labels = [found.labels[own] for found, own in zip(everyone, rows, strict=True)]
    if any(not np.array_equal(labels[0], other) for other in labels[1:]):
        return Gap(place=place, kind="refused", reason="labels of the same volumes differ")
    patients = [
        found.patients[own]
        for found, own in zip(everyone, rows, strict=True)
        if found.patients is not None
    ]
    if any(not np.array_equal(patients[0], other) for other in patients[1:]):
        return Gap(place=place, kind="refused", reason="patients of the same volumes differ")
    logits = tuple(found.logits[own] for found, own in zip(everyone, rows, strict=True))
    return PairedCell(
        place=place,
        total=total,
        ids=ids,
        labels=labels[0],
        patients=by_patient.with_several_volumes(patients[0] if patients else None),
        every_class=not metrics.absent_classes(base[0].labels, base[0].logits.shape[1]),
        undefined=undefined,
        thresholds=thresholds,
        base=logits[: len(base)],
        new=logits[len(base) :],
    )
