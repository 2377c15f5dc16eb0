"""Convolutions arranged so that a CPU trains and attacks MedViT-3D quickly.

Torch has no fast CPU kernel for the gradients of grouped and depthwise 3x3x3 convolutions: their
backward pass would take most of a training step. Both gradients are themselves convolutions that
cost about as much as the forward pass:

- the input's gradient is the output's, convolved with the flipped kernel in the same groups;
- the kernel's gradient is the correlation of input and output gradient at the kernel's 27 offsets:
  for a depthwise convolution a sum of products of shifted views, for a grouped one a convolution
  whose kernel is the output gradient.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462, for where these convolutions stand. Gradients of convolutions:
Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285.
Changed here: how they are computed, not what; other devices keep torch's own kernels.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv3d_weight

KERNEL = 3
CHANNEL_BLOCK = 8
LARGEST_KERNEL = 8


class GroupedConv3d(nn.Conv3d):
    """Grouped 3x3x3 convolution: stride 1, padding 1, as many channels out as in.

    It has no bias until a normalisation is folded into it.

    On a CPU its gradients are those of this module, which cannot be differentiated again. On other
    devices and under autocast they are torch's.

    Args:
        channels: Channels in and out, a multiple of ``channels_per_group``.
        channels_per_group: Channels that are mixed with each other; 1 makes it depthwise.
    """

    def __init__(self, channels: int, *, channels_per_group: int = 1) -> None:
        groups = channels // channels_per_group
        super().__init__(channels, channels, KERNEL, padding=1, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        if input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        kernel = without_idle_taps(self.weight, input.shape[2:])
        return grouped_conv3d(input, kernel, self.groups, self.bias)


class PointwiseConv3d(nn.Conv3d):
    """1x1x1 convolution; a matrix product on a CPU, with channels last.

    It has no bias until a normalisation is folded into it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Maps ``(B, in, D, H, W)`` to ``(B, out, D, H, W)``."""
        if input.device.type != "cpu":
            return super().forward(input)
        return F.linear(input.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


def channels_last(features: Tensor) -> Tensor:
    """Features ``(B, C, D, H, W)`` in the faster memory layout for their device."""
    if features.device.type != "cpu":
        return features
    return features.contiguous(memory_format=torch.channels_last_3d)


def without_idle_taps(kernel: Tensor, grid: torch.Size) -> Tensor:
    """Drops the taps that meet only padding: the outer ones along an axis of one voxel.

    Args:
        kernel: ``(out, in, 3, 3, 3)``.
        grid: Depth, height and width of the features.
    """
    for axis, size in enumerate(grid, start=2):
        if size == 1:
            kernel = kernel.narrow(axis, KERNEL // 2, 1)
    return kernel


def grouped_conv3d(
    features: Tensor, kernel: Tensor, groups: int, bias: Tensor | None = None
) -> Tensor:
    """Convolves with stride 1 and a padding that keeps the grid; differentiable once.

    Args:
        features: ``(B, C, D, H, W)``.
        kernel: ``(C, C / groups, k, k, k)``, each k odd.
        groups: Groups of channels.
        bias: ``(C,)``, or None for zero.

    Returns:
        Features of the shape given.
    """
    convolved: Tensor = _GroupedConv3d.apply(features, kernel, groups, bias)  # type: ignore[no-untyped-call]
    return convolved


class _GroupedConv3d(torch.autograd.Function):
    """The convolution and its gradients, each computed only if it is needed."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, groups: int, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.groups = groups
        return convolve(features, kernel, groups, bias)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, Tensor | None]:
        features, kernel = ctx.saved_tensors
        features_gradient = kernel_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            features_gradient = convolve(gradient, transposed(kernel, ctx.groups), ctx.groups)
        if ctx.needs_input_grad[1]:
            kernel_gradient = _correlate(features, gradient, kernel.shape, ctx.groups)
        if ctx.needs_input_grad[3]:
            bias_gradient = gradient.sum(dim=(0, 2, 3, 4))
        return features_gradient, kernel_gradient, None, bias_gradient


def convolve(features: Tensor, kernel: Tensor, groups: int, bias: Tensor | None = None) -> Tensor:
    """Convolves as `grouped_conv3d` does, with torch's own gradients."""
    # With channels last, depthwise convolutions are ten times faster and more.
    if kernel.shape[1] == 1:
        features = features.contiguous(memory_format=torch.channels_last_3d)
    return F.conv3d(features, kernel, bias, padding=_padding(kernel.shape), groups=groups)


def _padding(shape: torch.Size) -> list[int]:
    """The padding that keeps the grid."""
    return [size // 2 for size in shape[2:]]


def transposed(kernel: Tensor, groups: int) -> Tensor:
    """The kernel of the input's gradient: taps flipped, channels in and out swapped per group."""
    flipped = kernel.flip(2, 3, 4)
    if kernel.shape[1] == 1:
        return flipped
    per_group = flipped.reshape(groups, -1, *kernel.shape[1:])
    return per_group.transpose(1, 2).flatten(0, 1)


def _correlate(features: Tensor, gradient: Tensor, shape: torch.Size, groups: int) -> Tensor:
    """The kernel's gradient, of the given shape, computed the fastest way for its size."""
    if shape[1] == 1:
        return _correlate_channels(features, gradient, shape)
    # The batch takes the place of the channels, which oneDNN handles in blocks of eight, and the
    # grid that of the kernel, which must be small. Otherwise torch's own gradient is faster.
    batch, grid = features.shape[0], features.shape[2:]
    if batch % CHANNEL_BLOCK == 0 and max(grid) <= LARGEST_KERNEL:
        return _correlate_groups(features, gradient, shape)
    kernel_gradient: Tensor = conv3d_weight(  # type: ignore[no-untyped-call]
        features, shape, gradient, padding=_padding(shape), groups=groups
    )
    return kernel_gradient


def _correlate_channels(features: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    """Kernel gradient of a depthwise convolution: one sum of products for each tap."""
    features = features.contiguous(memory_format=torch.channels_last_3d)
    gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
    correlation = features.new_zeros(shape)
    grid = features.shape[2:]
    for tap in product(*(range(size) for size in shape[2:])):
        offsets = [index - size // 2 for index, size in zip(tap, shape[2:], strict=True)]
        if any(abs(offset) >= size for offset, size in zip(offsets, grid, strict=True)):
            continue
        seen, given = features, gradient
        for axis, (offset, size) in enumerate(zip(offsets, grid, strict=True), start=2):
            length = size - abs(offset)
            seen = seen.narrow(axis, max(offset, 0), length)
            given = given.narrow(axis, max(-offset, 0), length)
        correlation[:, 0, tap[0], tap[1], tap[2]] = (seen * given).sum(dim=(0, 2, 3, 4))
    return correlation


def _correlate_groups(features: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    """Kernel gradient of a grouped convolution, as a convolution that sums over the batch.

    Channels of a group take the place of the batch, and the batch that of the channels.
    """
    batch, channels, *grid = features.shape
    groups = channels // shape[1]
    per_group = features.reshape(batch, groups, shape[1], *grid)
    swapped = per_group.permute(2, 1, 0, 3, 4, 5).flatten(1, 2)
    correlation = F.conv3d(
        swapped, gradient.transpose(0, 1), padding=_padding(shape), groups=groups
    )
    return correlation.transpose(0, 1)
