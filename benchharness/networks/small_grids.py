"""Convolutions on grids of a few voxels, as matrix products.

On a grid of 2³ each voxel sees all others, and of 27 taps at most 8 meet a voxel: the others meet
padding, on which torch spends the same time. The last stages of networks for volumes of 28³ lie
there.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_GRID = 8
"""Most voxels of the input for which a convolution is a matrix."""
_FEWEST_VOLUMES = 8
"""Fewer volumes are not worth a matrix that is larger than the kernel."""


class SmallGridConv3d(nn.Module):
    """A convolution that is a matrix product where its input has few voxels.

    Args:
        conv: Neither grouped nor dilated, with zero padding; its weights must not change
            afterwards.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        self._matrices: dict[torch.Size, tuple[Tensor, Tensor | None, list[int]]] = {}

    def forward(self, features: Tensor) -> Tensor:
        """The convolution's output for features (B, C, D, H, W)."""
        grid = features.shape[2:]
        if not self._suits(grid, len(features)):
            convolved: Tensor = self.conv(features)
            return convolved
        if grid not in self._matrices:
            self._matrices[grid] = _matrix(self.conv, grid)
        matrix, bias, coarse = self._matrices[grid]
        rows = features.movedim(1, -1).reshape(len(features), -1)
        answers: Tensor = _FixedProduct.apply(rows, matrix, bias)  # type: ignore[no-untyped-call]
        return answers.view(len(features), *coarse, -1).movedim(-1, 1)

    def _suits(self, grid: torch.Size, volumes: int) -> bool:
        voxels = math.prod(grid)
        if voxels > _LARGEST_GRID:
            return False
        larger = voxels * math.prod(_coarse(self.conv, grid)) > math.prod(self.conv.kernel_size)
        return volumes >= _FEWEST_VOLUMES or not larger


def _coarse(conv: nn.Conv3d, grid: torch.Size) -> list[int]:
    """The grid of a convolution's output."""
    padding = map(int, conv.padding)
    sizes = zip(grid, conv.kernel_size, padding, conv.stride, strict=True)
    return [(n + 2 * pad - size) // stride + 1 for n, size, pad, stride in sizes]


def _matrix(conv: nn.Conv3d, grid: torch.Size) -> tuple[Tensor, Tensor | None, list[int]]:
    """The matrix (output voxels · out, input voxels · in), its bias, and the output's grid."""
    coarse = _coarse(conv, grid)
    weight = conv.weight.detach()
    matrix = weight.new_zeros(*coarse, weight.shape[0], *grid, weight.shape[1])
    padding = [int(pad) for pad in conv.padding]
    for given in product(*map(range, coarse)):
        for seen in product(*map(range, grid)):
            places = zip(seen, padding, conv.stride, given, strict=True)
            tap = [at + pad - stride * to for at, pad, stride, to in places]
            if all(0 <= n < size for n, size in zip(tap, conv.kernel_size, strict=True)):
                matrix[given][:, seen[0], seen[1], seen[2]] = weight[:, :, tap[0], tap[1], tap[2]]
    voxels = math.prod(coarse)
    bias = None if conv.bias is None else conv.bias.detach().repeat(voxels)
    return matrix.reshape(voxels * len(weight), -1), bias, coarse


class _FixedProduct(torch.autograd.Function):
    """Rows (B, in) times a fixed matrix (out, in), differentiable by the rows alone."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return _product(rows, matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _product(gradient, ctx.matrix.t(), None), None, None


def _product(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer, by oneDNN where torch has it: on some processors MKL is half as fast."""
    fused = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if fused is None or rows.device.type != "cpu" or rows.dtype is not torch.float32:
        return F.linear(rows, matrix, bias)
    answers: Tensor = fused(rows, matrix, bias, "none", [], "")
    return answers
