"""The networks that the zoo is made of, and where their weights are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from tests.masking.task import CLASSES

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = Path(__file__).parents[1] / "data" / "masking"


def patches(volumes: Tensor) -> Tensor:
    """Each patch of 2³ voxels as channels: (B, C, D, H, W) to (B, 8·C, D/2, H/2, W/2)."""
    for axis in (2, 3, 4):
        volumes = volumes.unfold(axis, 2, 2)
    return volumes.permute(0, 1, 5, 6, 7, 2, 3, 4).flatten(1, 4)


class Shapes(nn.Module):
    """Three convolutions of patches with BatchNorm, and a head that keeps their grid of 3³."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        *,
        activation: type[nn.Module] = nn.ReLU,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.pooled = pooled
        self.features = nn.Sequential(
            nn.Conv3d(in_channels * (1 if pooled else 8), 8, 1),
            nn.BatchNorm3d(8),
            activation(),
            nn.Conv3d(8, 12, 3, padding=1),
            nn.BatchNorm3d(12),
            activation(),
            nn.Conv3d(12, 12, 3, stride=2, padding=1),
            nn.BatchNorm3d(12),
            activation(),
        )
        self.head = nn.Linear(27 * 12, num_classes)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.head(self.maps(volumes).flatten(1))

    def maps(self, volumes: Tensor) -> Tensor:
        """Features (B, 12, 3, 3, 3)."""
        return self.features(F.avg_pool3d(volumes, 2) if self.pooled else patches(volumes))


class Attention(nn.Module):
    """Patches of 2³, a block of self-attention, and the mean of its tokens."""

    def __init__(self, num_classes: int, in_channels: int = 1, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(8 * in_channels, width, 1),
            nn.BatchNorm3d(width),
            nn.GELU(),
            nn.Conv3d(width, width, 2, stride=2),
        )
        self.place = nn.Parameter(torch.zeros(1, 27, width))
        self.before = nn.LayerNorm(width)
        self.keys = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.expand = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, volumes: Tensor) -> Tensor:
        tokens = self.stem(patches(volumes)).flatten(2).mT + self.place
        found = self.keys(self.before(tokens)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*found)
        tokens = tokens + self.mix(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.expand(self.between(tokens))
        return self.head(tokens.mean(1))


ARCHITECTURES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "base": (Shapes, {}),
    "robust": (Shapes, {}),
    "gelu": (Shapes, {"activation": nn.GELU}),
    "attention": (Attention, {}),
    "smooth": (Shapes, {"activation": nn.Softplus, "pooled": True}),
}
"""What each file of weights is for; `robust` and `smooth` are trained under attack."""


def weights_of(name: str) -> Path:
    """The committed weights of a network."""
    return WEIGHTS / f"{name}.safetensors"


def untrained(name: str) -> nn.Module:
    """A network as training begins with it."""
    architecture, arguments = ARCHITECTURES[name]
    return architecture(len(CLASSES), 1, **arguments)


@cache
def trained(name: str) -> nn.Module:
    """A network with its weights, frozen in evaluation mode; shared, so leave it as it is."""
    network = untrained(name)
    network.load_state_dict(load_file(weights_of(name)))
    return network.eval().requires_grad_(requires_grad=False)
