"""A network that falls to several steps and not to one, as catastrophic overfitting leaves it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchharness.datasets.base import Dataset, Split

EPS = 0.1
GRID = 12


class Fallen(nn.Module):
    """Classes from the first slices; all others decide, by their mean change t in units of ε, how
    far the margin falls: ((t − 0.4) / 0.3)² − 1 is negative from t = 0.1 to 0.7.

    A step of 1.25 ε from a random start lands near t = 0.86, beyond the valley, and steps of ε / 4
    stay in it. Until it has seen `sound` training batches its margin is 1 everywhere.
    """

    seen: Tensor

    def __init__(self, sound: int) -> None:
        super().__init__()
        self.sound = sound
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, volumes: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        label = (volumes[:, :, :2].mean((1, 2, 3, 4)) - 0.5).sign()
        t = (volumes[:, :, 2:].mean((1, 2, 3, 4)) - 0.5) / EPS
        valley = ((t - 0.4) / 0.3) ** 2 - 1
        margin = torch.where(self.seen >= self.sound, valley, 1 + 0 * t)
        own = label * margin * self.scale
        return torch.stack([-own, own], 1)


def fallen(num_classes: int, in_channels: int = 1, sound: int = 0) -> nn.Module:
    del num_classes, in_channels
    return Fallen(sound)


def dataset() -> Dataset:
    """Grey volumes whose first two slices are dark or bright."""
    splits = {}
    for name in ("train", "val", "test"):
        labels = np.arange(8) % 2
        volumes = np.full((8, 1, GRID, GRID, GRID), 0.5 * 65535, np.uint16)
        volumes[labels == 0, :, :2] = int(0.2 * 65535)
        volumes[labels == 1, :, :2] = int(0.8 * 65535)
        ids = tuple(f"fallen/{name}/{index}" for index in range(8))
        splits[name] = Split(ids=ids, volumes=volumes, labels=labels.astype(np.int64))
    return Dataset(
        name="fallen",
        classes=("dark", "bright"),
        modality="unknown",
        digest="sha256:fallen",
        default_recipe="quick",
        **splits,
    )
