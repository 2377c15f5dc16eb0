"""Corrupt the volumes of a split, one by one on the CPU or in batches on a device."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchharness.artefacts import batched
from benchharness.artefacts.base import CANONICAL, STEPS, Artefact
from benchharness.artefacts.cache import CorruptedSet
from benchharness.networks.batches import as_float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.artefacts.base import Spacing

_LIBRARIES = ("torch", "numpy", "scipy", "torchio", "SimpleITK", "monai")
_BATCH = 16


def implementation(artefact: Artefact, *, fast: bool) -> str:
    """Name of what computes an artefact: `torch` where asked for and available, else `cpu`."""
    return batched.NAME if fast and batched.available(artefact) else CANONICAL


def libraries() -> dict[str, str]:
    """Versions of the libraries whose update may change the bits of a corrupted volume."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def corrupt(
    artefact: Artefact,
    volumes: NDArray[np.unsignedinteger[Any]],
    ids: Sequence[str],
    *,
    severity: int,
    seed: int,
    device: torch.device | str | None = None,
    spacing: Spacing | None = None,
) -> CorruptedSet:
    """Corrupt every volume of a split.

    Args:
        artefact: The artefact.
        volumes: Shape (N, C, D, H, W), uint8 or uint16.
        ids: N names.
        severity: Level, 1 to 5.
        seed: Perturbation seed.
        device: None takes the canonical path, one volume at a time on the CPU; otherwise the
            batched implementation runs on this device. It must exist and ignores the spacing.
        spacing: In millimetres, where known.

    Raises:
        BenchError: As `Artefact.__call__`.
        CellError: As `Artefact.__call__`.
    """
    made = np.empty(volumes.shape, np.uint16)
    clipped, changed = np.empty(len(ids)), np.empty(len(ids), np.bool_)
    for start in range(0, len(ids), _BATCH):
        part = slice(start, start + _BATCH)
        clean = as_float(np.ascontiguousarray(volumes[part]), "cpu")
        made[part], clipped[part] = (
            _one_by_one(artefact, clean, ids[part], severity, seed, spacing)
            if device is None
            else _at_once(artefact, clean, ids[part], severity, seed, device)
        )
        changed[part] = (made[part] != _steps(clean)).reshape(len(clean), -1).any(axis=1)
    return CorruptedSet(volumes=made, clipped=clipped, changed=changed)


def _at_once(
    artefact: Artefact,
    clean: torch.Tensor,
    ids: Sequence[str],
    severity: int,
    seed: int,
    device: torch.device | str,
) -> tuple[NDArray[np.uint16], Any]:
    corrupted, shares = batched.corrupt(
        artefact, clean.to(device), severity=severity, ids=ids, seed=seed
    )
    return _steps(corrupted.cpu()), shares.cpu().numpy()


def _one_by_one(
    artefact: Artefact,
    clean: torch.Tensor,
    ids: Sequence[str],
    severity: int,
    seed: int,
    spacing: Spacing | None,
) -> tuple[NDArray[np.uint16], Any]:
    found = [
        artefact(volume, severity=severity, id=name, seed=seed, spacing=spacing)
        for volume, name in zip(clean, ids, strict=True)
    ]
    return _steps(torch.stack([one.volume for one in found])), [one.clipped for one in found]


def _steps(volumes: torch.Tensor) -> NDArray[np.uint16]:
    counted: NDArray[np.uint16] = (volumes.double() * STEPS).round().numpy().astype(np.uint16)
    return counted
