"""Blocks of MedViT-3D: efficient convolution block (ECB) and local transformer block (LTB).

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462.
Changed here: three dimensions, and keys and values reduced over spatial neighbourhoods. The 2-D
network averages runs of tokens in raster order, which in 3-D leaves a single key at 28^3; that
reduction stays available for weights trained with it (see ``SpatialReduction``).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medvit3d.convolution import GroupedConv3d, PointwiseConv3d
from medvit3d.layers import BatchNorm, DropPath, SqueezeExcite

HEAD_CHANNELS = 32
"""Channels of one attention head, and of one group of the convolutional attention."""

SpatialReduction = Literal["spatial", "slice_sequence", "sequence"]
"""How keys and values are averaged from the grid before attention, with ratio r per axis:

- ``spatial``: adaptive averages over neighbourhoods, per axis max(ceil(grid / r), min(4, grid)).
- ``slice_sequence``: runs of r^2 tokens in raster order within each slice, as in 2-D.
- ``sequence``: runs of r^3 tokens in raster order of the volume.
"""

MINIMUM_KEYS_PER_AXIS = 4


class PatchEmbedding(nn.Module):
    """Halves the grid at stride 2 by averaging, then maps channels by 1x1x1 convolution and norm.

    If neither grid nor channels change, it is the identity and has no parameters.
    """

    folds = (("conv", "norm"),)

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.conv = PointwiseConv3d(in_channels, out_channels)
            self.norm = BatchNorm(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        if self.stride != 1:
            # torch refuses a window wider than the grid, such as the one slice of a 2-D image.
            window = tuple(min(self.stride, n) for n in features.shape[2:])
            features = F.avg_pool3d(features, window, ceil_mode=True, count_include_pad=False)
        embedded: Tensor = self.norm(self.conv(features))
        return embedded


class ConvAttention(nn.Module):
    """Multi-head convolutional attention (MHCA): grouped 3x3x3 convolution, then 1x1x1.

    Raises:
        ValueError: If channels are not a multiple of ``HEAD_CHANNELS``.
    """

    folds = (("group_conv", "norm"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % HEAD_CHANNELS:
            raise ValueError(f"channels must be a multiple of {HEAD_CHANNELS}, got {channels}")
        self.group_conv = GroupedConv3d(channels, channels_per_group=HEAD_CHANNELS)
        self.norm = BatchNorm(channels)
        self.act = nn.ReLU(inplace=True)
        self.projection = PointwiseConv3d(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Returns a branch of the shape ``(B, C, D, H, W)`` it was given."""
        mixed: Tensor = self.projection(self.act(self.norm(self.group_conv(features))))
        return mixed


class LocalFeedForward(nn.Module):
    """Locally enhanced feed-forward (LFFN) with its own residual connection.

    1x1x1 expansion, depthwise 3x3x3, squeeze-and-excitation, 1x1x1 projection.

    Args:
        channels: Channels in and out.
        expansion: Hidden channels per channel.
    """

    folds = (
        ("expand", "expand_norm"),
        ("depthwise", "depthwise_norm"),
        ("project", "project_norm"),
    )

    def __init__(self, channels: int, *, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = PointwiseConv3d(channels, hidden)
        self.expand_norm = BatchNorm(hidden)
        self.depthwise = GroupedConv3d(hidden, channels_per_group=1)
        self.depthwise_norm = BatchNorm(hidden)
        # The original's reduction ratio equals its output channels: the bottleneck has only
        # `expansion` units.
        self.gate = SqueezeExcite(hidden, expansion)
        self.project = PointwiseConv3d(hidden, channels)
        self.project_norm = BatchNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        hidden = F.hardswish(self.expand_norm(self.expand(features)))
        hidden = F.hardswish(self.depthwise_norm(self.depthwise(hidden)))
        projected: Tensor = self.project_norm(self.project(self.gate(hidden)))
        return features + projected


def reduce_tokens(features: Tensor, ratio: int, reduction: SpatialReduction) -> Tensor:
    """Averages features down to the positions whose keys and values attention uses.

    Args:
        features: ``(B, C, D, H, W)``.
        ratio: Reduction per axis, at least 1.
        reduction: See ``SpatialReduction``.

    Returns:
        Features on a smaller grid for ``spatial``; ``(B, C, slices, 1, tokens)`` otherwise.

    Raises:
        ValueError: If there are fewer tokens than one run averages.
    """
    if reduction == "spatial":
        depth, height, width = (
            max(math.ceil(size / ratio), min(MINIMUM_KEYS_PER_AXIS, size))
            for size in features.shape[2:]
        )
        if (depth, height, width) == features.shape[2:]:
            return features
        return F.adaptive_avg_pool3d(features, (depth, height, width))
    if reduction == "slice_sequence":
        run, tokens = ratio**2, features.flatten(3)
    else:
        run, tokens = ratio**3, features.flatten(2).unsqueeze(2)
    if tokens.shape[3] < run:
        raise ValueError(
            f"spatial_reduction={reduction!r} averages runs of {run} tokens, got {tokens.shape[3]} "
            f"from features of grid {tuple(features.shape[2:])}: use larger volumes or "
            f"spatial_reduction='spatial'"
        )
    return F.avg_pool2d(tokens, (1, run)).unsqueeze(3)


class SelfAttention(nn.Module):
    """Efficient multi-head self-attention (E-MHSA) from every position to reduced keys and values.

    Args:
        channels: Channels in and out, a multiple of ``HEAD_CHANNELS``.
        ratio: Reduction of keys and values per axis; at 1 they are neither averaged nor normalised.
        reduction: How they are averaged.
    """

    def __init__(self, channels: int, *, ratio: int, reduction: SpatialReduction) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.ratio = ratio
        self.reduction = reduction
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.projection = nn.Linear(channels, channels)
        self.key_norm: nn.Module = BatchNorm(channels) if ratio > 1 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Returns a branch of the shape ``(B, C, D, H, W)`` it was given."""
        source = features
        if self.ratio > 1:
            source = self.key_norm(reduce_tokens(features, self.ratio, self.reduction))
        tokens = features.flatten(2).transpose(1, 2)
        source = source.flatten(2).transpose(1, 2)
        attended = F.scaled_dot_product_attention(
            self._split(self.query(tokens)),
            self._split(self.key(source)),
            self._split(self.value(source)),
        )
        mixed: Tensor = self.projection(attended.transpose(1, 2).flatten(2))
        return mixed.transpose(1, 2).reshape(features.shape)

    def _split(self, tokens: Tensor) -> Tensor:
        """``(B, tokens, C)`` to ``(B, heads, tokens, C / heads)``."""
        return tokens.reshape(*tokens.shape[:2], self.heads, HEAD_CHANNELS).transpose(1, 2)


class ConvBlock(nn.Module):
    """Efficient convolution block (ECB): embedding, convolutional attention, feed-forward.

    Args:
        in_channels: Channels in.
        out_channels: Channels out, a multiple of ``HEAD_CHANNELS``.
        stride: 2 halves the grid.
        drop_path: Chance of dropping the attention branch, in [0, 1).
    """

    expansion = 3

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = PatchEmbedding(in_channels, out_channels, stride=stride)
        self.attention = ConvAttention(out_channels)
        self.drop_path = DropPath(drop_path)
        self.norm = BatchNorm(out_channels)
        self.feed_forward = LocalFeedForward(out_channels, expansion=self.expansion)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        features = self.embed(features)
        features = features + self.drop_path(self.attention(features))
        fed: Tensor = self.feed_forward(self.norm(features))
        return features + fed


class TransformerBlock(nn.Module):
    """Local transformer block (LTB): self-attention on 3/4 of the channels, convolution on 1/4.

    Args:
        in_channels: Channels in.
        out_channels: Channels out, a multiple of ``4 * HEAD_CHANNELS``.
        stride: 2 halves the grid.
        drop_path: Chance of dropping a branch, in [0, 1), split 3 : 1 like the channels.
        ratio: Reduction of keys and values per axis.
        reduction: How they are averaged.

    Raises:
        ValueError: If the channels out cannot be split into whole heads.
    """

    expansion = 2
    global_share = 0.75

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        drop_path: float = 0.0,
        ratio: int = 1,
        reduction: SpatialReduction = "spatial",
    ) -> None:
        super().__init__()
        if out_channels % (4 * HEAD_CHANNELS):
            raise ValueError(
                f"out_channels must be a multiple of {4 * HEAD_CHANNELS}, got {out_channels}"
            )
        wide = int(out_channels * self.global_share)
        self.embed = PatchEmbedding(in_channels, wide, stride=stride)
        self.norm = BatchNorm(wide)
        self.attention = SelfAttention(wide, ratio=ratio, reduction=reduction)
        self.drop_path = DropPath(drop_path * self.global_share)
        self.local_embed = PatchEmbedding(wide, out_channels - wide)
        self.local_attention = ConvAttention(out_channels - wide)
        self.local_drop_path = DropPath(drop_path * (1 - self.global_share))
        self.feed_forward_norm = BatchNorm(out_channels)
        self.feed_forward = LocalFeedForward(out_channels, expansion=self.expansion)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        features = self.embed(features)
        features = features + self.drop_path(self.attention(self.norm(features)))
        local = self.local_embed(features)
        local = local + self.local_drop_path(self.local_attention(local))
        features = torch.cat([features, local], dim=1)
        fed: Tensor = self.feed_forward(self.feed_forward_norm(features))
        return features + fed
