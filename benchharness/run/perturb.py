"""The volumes of a cell, made in one place: `bench run` measures them, `bench explain` maps them.

Clean and corrupted volumes are stored as integers and need no network. Networks see exactly what is
stored: uint8 over 255, or uint16 over 65535. Adversarial volumes are made batch by batch.

The result does not depend on the caller. A corrupted volume is bit for bit the one that was
measured. Every draw of an attack belongs to a volume's id, so equal batches on one machine give
equal bits. Batches are slices of one array, because even its memory layout decides which kernels
compute. In other batches floating point differs, and verdicts agree except close to a margin of
zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchharness.artefacts import Artefact, batched
from benchharness.artefacts.cache import Cache, CorruptedSet
from benchharness.artefacts.corruption import corrupt, libraries
from benchharness.attacks import Attack
from benchharness.canonical import digest
from benchharness.networks.batches import as_float
from benchharness.store.cells import FLOAT32, precision

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.attacks.core.base import Outcome
    from benchharness.datasets import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.store.cells import Cell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """Clean or corrupted volumes. Call it with a slice for float32 volumes in [0, 1]."""

    volumes: NDArray[np.unsignedinteger]
    """Shape (N, C, D, H, W): uint8 when clean, uint16 when corrupted."""
    device: torch.device
    corrupted: CorruptedSet | None = None
    """The set that `volumes` are from, with what the artefact did; None when clean."""

    def __call__(self, place: slice) -> Tensor:
        """Volumes (B, C, D, H, W) as a network sees them."""
        return as_float(self.volumes[place], self.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attacked:
    """Adversarial volumes. Every call attacks a slice anew; nothing is kept."""

    attack: Attack
    severity: float
    seed: int
    split: Split
    classifier: Classifier
    """The network that is attacked, and that judges the volumes."""
    source: Classifier | None
    """The network that the volumes are made on, for attacks that need another one."""
    precision: str = FLOAT32
    """Of the attack's gradients."""

    def __call__(self, place: slice) -> Tensor:
        """Volumes (B, C, D, H, W) as a network sees them."""
        return self.outcome(place, watched=()).volumes

    def outcome(self, place: slice, *, watched: Collection[str]) -> Outcome:
        """Attack a slice of the split.

        Args:
            place: Which.
            watched: Names of volumes whose gradient is checked.

        Raises:
            BenchError: As `Attack.__call__`.
            CellError: As `Attack.__call__`.
        """
        device = self.classifier.device
        return self.attack(
            self.classifier,
            as_float(self.split.volumes[place], device),
            torch.from_numpy(self.split.labels[place]).to(device),
            severity=self.severity,
            ids=self.split.ids[place],
            seed=self.seed,
            source=self.source,
            watched=watched,
            precision=self.precision,
        )


def perturb(
    cell: Cell,
    split: Split,
    perturbation: Attack | Artefact | None,
    classifier: Classifier,
    *,
    source: Classifier | None = None,
    whole: Split | None = None,
) -> Stored | Attacked:
    """Make the volumes of a cell, or get ready to.

    Args:
        cell: Its perturbation, severity and seed decide what is made. With `accuracy_only`, who
            asks decides which volumes are left out.
        split: The clean volumes.
        perturbation: What the cell names; None for a clean cell.
        classifier: The judged network, prepared by `for_evaluation`; attacks ask it, and batched
            artefacts run on its device.
        source: The network that transferred volumes are made on.
        whole: The volumes that the cell measures, where `split` is some of them. Corrupted volumes
            are then taken from the set that was measured.

    Raises:
        BenchError: When the perturbation does not accept the volumes.
        CellError: When the perturbation made something that is no volume.
    """
    if isinstance(perturbation, Attack):
        severity, seed = cell.perturbation.severity, cell.perturbation.seed
        assert severity is not None
        assert seed is not None
        return Attacked(
            attack=perturbation,
            severity=severity,
            seed=seed,
            split=split,
            classifier=classifier,
            source=source,
            precision=precision(cell.perturbation) or FLOAT32,
        )
    if perturbation is None:
        # Without this, a perturbation that nobody found would be measured as clean.
        assert cell.perturbation.kind == "none", f"{cell.perturbation.name} is not in the plan"
        return Stored(volumes=split.volumes, device=classifier.device)
    found = corrupted(cell, split, perturbation, classifier.device, whole=whole)
    return Stored(volumes=found.volumes, device=classifier.device, corrupted=found)


def corrupted(
    cell: Cell,
    split: Split,
    artefact: Artefact,
    device: torch.device,
    *,
    whole: Split | None = None,
) -> CorruptedSet:
    """The corrupted volumes of a split, which need no network.

    Args:
        cell: Its perturbation, level and seed decide what is made.
        split: The clean volumes.
        artefact: What the cell names.
        device: Where batched implementations run.
        whole: As for `perturb`.
    """
    if whole is not None and set(split.ids) <= set(whole.ids):
        return _taken(_corrupted(cell, whole, artefact, device), whole.ids, split.ids)
    return _corrupted(cell, split, artefact, device)


def _corrupted(cell: Cell, split: Split, artefact: Artefact, device: torch.device) -> CorruptedSet:
    """The corrupted set of a split: from the cache, else made now and kept there."""
    severity, seed = cell.perturbation.severity, cell.perturbation.seed
    assert isinstance(severity, int)
    assert seed is not None
    fast = dict(cell.perturbation.parameters)["implementation"] == batched.NAME
    on_device = device if fast else None
    return Cache.of_environment().get(
        _key(cell, split, on_device),
        lambda: corrupt(
            artefact,
            split.volumes,
            split.ids,
            severity=severity,
            seed=seed,
            device=on_device,
            spacing=split.spacing,
        ),
    )


def _key(cell: Cell, split: Split, device: torch.device | None) -> dict[str, Any]:
    """All that decides the bits of a corrupted set on this machine."""
    return {
        "dataset": cell.dataset.digest,
        "split": cell.dataset.split,
        "volumes": digest(split.ids),
        "perturbation": cell.perturbation.numbers(),
        "device": None if device is None else device.type,
        "libraries": libraries(),
    }


def _taken(whole: CorruptedSet, ids: Sequence[str], chosen: Sequence[str]) -> CorruptedSet:
    """Some volumes of a set, in the order of `chosen`."""
    places = {name: place for place, name in enumerate(ids)}
    rows = [places[name] for name in chosen]
    return CorruptedSet(
        volumes=whole.volumes[rows], clipped=whole.clipped[rows], changed=whole.changed[rows]
    )
