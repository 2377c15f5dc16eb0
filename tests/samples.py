"""Small networks and data on which the whole path runs in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from benchharness.datasets.base import Dataset, Split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

GRID = 12
COUNTS = {"train": 48, "val": 24, "test": 24}


class _Tiny(nn.Module):
    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(in_channels, width, 3, padding=1),
            nn.BatchNorm3d(width, momentum=0.3),
            nn.SiLU(),
            nn.Dropout3d(0.1),
            nn.Conv3d(width, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(width, num_classes)
        self.gradcam_layer = "features.4"

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(volumes))
        return logits


class _NaNInEval(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        logits = super().forward(volumes)
        return logits if self.training else logits * float("nan")


def tiny(num_classes: int, in_channels: int = 1, width: int = 6) -> nn.Module:
    """A network that learns the sample data in a few epochs."""
    return _Tiny(num_classes, in_channels, width)


def wider(num_classes: int, in_channels: int = 1) -> nn.Module:
    """A second network beside `tiny`."""
    return _Tiny(num_classes, in_channels, 10)


def nan_in_eval(num_classes: int, in_channels: int = 1) -> nn.Module:
    """A network that trains well and answers NaN afterwards."""
    return _NaNInEval(num_classes, in_channels, 4)


def volumes(split: str, classes: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise with a checkerboard whose contrast tells the class: uint8 (N, 12, 12, 12), labels (N,).

    The mean brightness tells nothing, so that a network has to learn for some epochs.
    """
    count = COUNTS[split]
    draws = np.random.Generator(np.random.PCG64(len(split) * 7 + count))
    labels = np.arange(count) % classes
    noise = draws.uniform(80, 150, (count, GRID, GRID, GRID))
    board = np.indices((GRID, GRID, GRID)).sum(0) % 2 * 2 - 1
    noise += board * (labels * 40 / (classes - 1))[:, None, None, None]
    return noise.astype(np.uint8), labels.astype(np.int64)


def dataset(classes: int = 2) -> Dataset:
    """The sample data as a dataset in memory."""
    splits = {}
    for name in COUNTS:
        images, labels = volumes(name, classes)
        splits[name] = Split(
            ids=tuple(f"sample/{name}/{index}" for index in range(len(labels))),
            volumes=images[:, None],
            labels=labels,
        )
    return Dataset(
        name="sample",
        classes=tuple(f"class {k}" for k in range(classes)),
        modality="unknown",
        digest="sha256:sample",
        default_recipe="quick",
        **splits,
    )


def write_archive(path: Path, classes: int = 2) -> Path:
    """Write the sample data as an .npz in MedMNIST's layout."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in COUNTS:
        images, labels = volumes(name, classes)
        arrays |= {f"{name}_images": images, f"{name}_labels": labels[:, None].astype(np.uint8)}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path
