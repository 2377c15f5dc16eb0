"""The embedded phantom and its renderings: no download, the same volumes on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchharness.datasets import phantom, renderings
from benchharness.datasets.base import Dataset, Split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.datasets.base import Modality, Spacing

_SPACING = (renderings.FIELD_OF_VIEW / 28,) * 3


def phantom3d(root: Path | None = None) -> Dataset:  # noqa: ARG001 - factories share one signature
    """Make the phantom at 28³; it needs no files."""
    return _dataset("phantom3d", lambda split: phantom.volumes(split, 28))


def phantom3d_64(root: Path | None = None) -> Dataset:  # noqa: ARG001 - as above
    """Make the phantom at 64³: the same structures on a finer grid."""
    return _dataset("phantom3d_64", lambda split: phantom.volumes(split, 64))


def phantom3d_ct(root: Path | None = None) -> Dataset:  # noqa: ARG001 - as above
    """Make the scenes of `phantom3d` as a CT scanner shows them, at 28³ and 2 mm."""
    return _dataset(
        "phantom3d_ct",
        lambda split: renderings.volumes("ct", split, 28),
        modality="ct",
        spacing=_SPACING,
    )


def phantom3d_mr(root: Path | None = None) -> Dataset:  # noqa: ARG001 - as above
    """Make the scenes of `phantom3d` as an MR scanner shows them, at 28³ and 2 mm."""
    return _dataset(
        "phantom3d_mr",
        lambda split: renderings.volumes("mr", split, 28),
        modality="mri",
        spacing=_SPACING,
    )


def phantom3d_xray(root: Path | None = None) -> Dataset:  # noqa: ARG001 - as above
    """Make radiographs of the scenes of `phantom3d`: volumes of depth 1 with 28² pixels."""
    return _dataset(
        "phantom3d_xray", lambda split: renderings.volumes("xray", split, 28), modality="x-ray"
    )


def _dataset(
    name: str,
    made: Callable[[str], tuple[renderings.Bytes, renderings.Labels, renderings.Masks]],
    *,
    modality: Modality = "phantom",
    spacing: Spacing | None = None,
) -> Dataset:
    splits = {}
    for split in phantom.SPLIT_SIZES:
        volumes, labels, masks = made(split)
        splits[split] = Split(
            ids=tuple(f"{name}/{split}/{index}" for index in range(len(labels))),
            volumes=volumes[:, None],
            labels=labels,
            masks=masks,
            spacing=spacing,
        )
    return Dataset(
        name=name,
        classes=tuple(phantom.CLASSES),
        modality=modality,
        digest=f"sha256:{_digest(*splits.values())}",
        default_recipe="quick",
        label_space="phantom3d",
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
    )


def _digest(*splits: Split) -> str:
    """SHA-256 of volumes and labels, split after split, however they were made."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.volumes.shape, split.volumes.dtype.str)).encode())
        digest.update(split.volumes.tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()
