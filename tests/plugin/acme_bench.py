"""A plug-in: one model, one dataset, one attack and one artefact, each the smallest there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn

from benchharness.artefacts.base import Artefact, Group, Level
from benchharness.attacks import Attack, Batch, Cost, parameter
from benchharness.datasets import Dataset, Split

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor


def net(num_classes: int, in_channels: int = 1) -> nn.Module:
    """Means of each channel, and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(in_channels, num_classes))


def cubes(root: Path | None) -> Dataset:
    """Dark and bright cubes."""
    splits = {}
    for name in ("train", "val", "test"):
        labels = np.arange(8) % 2
        volumes = np.full((8, 1, 8, 8, 8), 50, dtype=np.uint8)
        volumes[labels == 1] += 100
        ids = tuple(f"acme_cubes/{name}/{index}" for index in range(8))
        splits[name] = Split(ids=ids, volumes=volumes, labels=labels.astype(np.int64))
    return Dataset(
        name="acme_cubes",
        classes=("dark", "bright"),
        modality="unknown",
        digest="sha256:acme",
        default_recipe="quick",
        **splits,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Attack):
    """Uniform noise."""

    name: ClassVar[str] = "acme_noise"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "acme"
    summary: ClassVar[str] = "Uniform noise in the ball."
    access: ClassVar[str] = "none"
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    share: float = parameter(1.0, low=0.0, high=1.0)

    def cost(self, num_classes: int) -> Cost:
        """Nothing."""
        return Cost(forward=0, backward=0)

    def perturb(self, batch: Batch) -> Tensor:
        """Add what torch draws."""
        noise = torch.rand_like(batch.volumes) * 2 - 1
        return batch.volumes + batch.severity * self.share * noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Faded(Level):
    """How much is left."""

    factor: float


class Fade(Artefact):
    """Lost intensity."""

    name: ClassVar[str] = "acme_fade"
    version: ClassVar[int] = 1
    group: ClassVar[Group] = "general"
    source: ClassVar[str] = "acme"
    unit: ClassVar[str] = "factor on the intensity"
    summary: ClassVar[str] = "Intensity is lost."
    plausible: ClassVar[frozenset[str]] = frozenset({"ct"})
    levels: ClassVar[tuple[Level, ...]] = tuple(Faded(factor=1 - k / 10) for k in range(1, 6))

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Multiply."""
        level = self.level(severity)
        assert isinstance(level, Faded)
        return volume * level.factor
