"""The embedded phantom as a dataset: no download, the same volumes on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchharness.datasets import phantom
from benchharness.datasets.base import Dataset, Split

if TYPE_CHECKING:
    from pathlib import Path


def phantom3d(root: Path | None = None) -> Dataset:  # noqa: ARG001 - factories share one signature
    """Make the phantom at 28³; it needs no files."""
    return _dataset("phantom3d", 28)


def phantom3d_64(root: Path | None = None) -> Dataset:  # noqa: ARG001 - as above
    """Make the phantom at 64³: the same structures on a finer grid."""
    return _dataset("phantom3d_64", 64)


def _dataset(name: str, size: int) -> Dataset:
    train, val, test = (_split(name, split, size) for split in ("train", "val", "test"))
    return Dataset(
        name=name,
        classes=tuple(phantom.CLASSES),
        modality="phantom",
        digest=f"sha256:{_digest(train, val, test)}",
        default_recipe="quick",
        train=train,
        val=val,
        test=test,
        label_space="phantom3d",
    )


def _split(name: str, split: str, size: int) -> Split:
    volumes, labels, masks = phantom.volumes(split, size)
    return Split(
        ids=tuple(f"{name}/{split}/{index}" for index in range(len(labels))),
        volumes=volumes[:, None],
        labels=labels,
        masks=masks,
    )


def _digest(*splits: Split) -> str:
    """SHA-256 of volumes and labels, split after split, however they were made."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.volumes.shape, split.volumes.dtype.str)).encode())
        digest.update(split.volumes.tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()
