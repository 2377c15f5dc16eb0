"""The predictions of both sides, brought to the volumes that they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.comparison.places import Gap, Place
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.statistics.metrics import Labels, Logits
    from benchharness.store.predictions import Predictions

    Floats = NDArray[np.float64]


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
    """Shape (N,), the patient of each volume; None where they are not known."""
    has_auc: bool
    """Whether the AUC is meaningful in this cell."""
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
    has_auc: bool,
) -> PairedCell | Gap:
    """Bring all predictions to the common volumes in BASE's order.

    Args:
        place: Of the cell.
        total: How many volumes the split holds.
        base: Predictions of every training seed of BASE.
        new: Predictions of every training seed of NEW.
        has_auc: Whether the AUC is meaningful in this cell.

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
    logits = tuple(found.logits[own] for found, own in zip(everyone, rows, strict=True))
    return PairedCell(
        place=place,
        total=total,
        ids=ids,
        labels=labels[0],
        patients=None if base[0].patients is None else base[0].patients[rows[0]],
        has_auc=has_auc,
        base=logits[: len(base)],
        new=logits[len(base) :],
    )
