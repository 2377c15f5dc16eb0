"""The CBAM network that circulates under the name MedViT-3D.

Paper of the module: Woo et al., "CBAM: Convolutional Block Attention Module", arXiv 1807.06521.
Paper of the name: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical
Image Classification", arXiv 2302.09462, of which it keeps stem and patch embedding but neither
convolutional nor self-attention.
Changed here: only names; its public weights load through ``weights.convert_cbam``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medvit3d.blocks import PatchEmbedding
from medvit3d.conversion import load_published
from medvit3d.convolution import PointwiseConv3d
from medvit3d.folding import fold_batch_norms
from medvit3d.layers import BatchNorm
from medvit3d.public_names import cbam_name
from medvit3d.stem import check_size, check_volumes, make_stem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medvit3d.conversion import Inflation

STEM_CHANNELS = (32, 64, 128, 128)
BLOCK_CHANNELS = (64, 128, 256)
CHANNEL_REDUCTION = 16


class ChannelAndSpatialAttention(nn.Module):
    """CBAM: scales channels, then positions, each by a gate in [0, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = PointwiseConv3d(channels, channels // CHANNEL_REDUCTION)
        self.restore = PointwiseConv3d(channels // CHANNEL_REDUCTION, channels)
        self.spatial = nn.Conv3d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Returns gated features of the shape ``(B, C, D, H, W)`` it was given."""
        average = features.mean(dim=(2, 3, 4), keepdim=True)
        maximum = features.amax(dim=(2, 3, 4), keepdim=True)
        features = features * torch.sigmoid(self._channels(average) + self._channels(maximum))
        maps = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.spatial(maps))

    def _channels(self, pooled: Tensor) -> Tensor:
        """The two-layer perceptron that both pooled descriptors share."""
        gate: Tensor = self.restore(F.relu(self.reduce(pooled)))
        return gate


class CBAMBlock(nn.Module):
    """Patch embedding, CBAM, then 1x1x1 convolution, batch normalisation and ReLU."""

    folds = (("conv", "norm"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = PatchEmbedding(in_channels, out_channels)
        self.attention = ChannelAndSpatialAttention(out_channels)
        self.conv = PointwiseConv3d(out_channels, out_channels)
        self.norm = BatchNorm(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, D, H, W)``."""
        return F.relu(self.norm(self.conv(self.attention(self.embed(features)))))


class MedViT3DCBAM(nn.Module):
    """Stem, three CBAM blocks at a quarter of the input grid, global average, linear head.

    Args:
        num_classes: Number of logits, at least 1.
        in_channels: Channels of a volume.

    Attributes:
        gradcam_layer: Name of the layer whose output Grad-CAM should weigh: 7^3 at 28^3.

    Raises:
        ValueError: For fewer than one class or channel.
    """

    gradcam_layer = "blocks"

    def __init__(self, num_classes: int, in_channels: int = 1) -> None:
        super().__init__()
        check_size(num_classes, in_channels)
        self.stem = make_stem(in_channels, STEM_CHANNELS)
        widths = (STEM_CHANNELS[-1], *BLOCK_CHANNELS)
        self.blocks = nn.Sequential(
            *(CBAMBlock(a, b) for a, b in zip(widths, BLOCK_CHANNELS, strict=False))
        )
        self.head = nn.Linear(BLOCK_CHANNELS[-1], num_classes)

    def folded(self) -> MedViT3DCBAM:
        """An equivalent network for evaluation, with normalisations folded into convolutions."""
        return fold_batch_norms(self)

    def forward(self, volumes: Tensor) -> Tensor:
        """Maps volumes ``(B, C, D, H, W)`` to logits ``(B, num_classes)`` in either mode.

        Raises:
            ValueError: If the input does not have five axes.
        """
        check_volumes(volumes)
        features = self.blocks(self.stem(volumes))
        logits: Tensor = self.head(features.mean(dim=(2, 3, 4)))
        return logits

    def initialise_from(self, state: Mapping[str, Tensor], *, method: Inflation = "centre") -> str:
        """Loads weights of the public CBAM network; otherwise as ``MedViT3D.initialise_from``.

        ``method`` has no effect, because these weights are three-dimensional.
        """
        return load_published(self, state, cbam_name, family="MedViT-3D CBAM", method=method)
