"""MONAI's transformers as a user brings them, small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import ViT
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def vit(num_classes: int, in_channels: int = 1) -> nn.Module:
    """Returns logits and the hidden states of every layer."""
    return ViT(
        in_channels=in_channels,
        img_size=(28, 28, 28),
        patch_size=(7, 7, 7),
        hidden_size=24,
        mlp_dim=48,
        num_layers=2,
        num_heads=2,
        classification=True,
        num_classes=num_classes,
    )


class _SwinClassifier(nn.Module):
    """The encoder of SwinUNETR, and a head that leaves the logits on a grid of one voxel."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        heads = depths = (1, 1, 1, 1)
        self.swinViT = SwinTransformer(in_channels, 6, (3, 3, 3), (2, 2, 2), depths, heads)
        self.head = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(96, num_classes, 1))

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.swinViT(volumes)[-1])
        return logits


def swin(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _SwinClassifier(num_classes, in_channels)
