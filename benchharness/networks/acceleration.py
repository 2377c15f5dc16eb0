"""Faster networks for evaluation, with the same outputs to float32 rounding.

A network may offer a method `folded() -> nn.Module` that returns a new, equivalent network for
evaluation, such as one with its normalisations folded into its convolutions. On a CPU the
convolutions of that copy are made faster here. Any network can be compiled on top.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from benchharness.networks.small_grids import SmallGridConv3d

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_FEW_CHANNELS = 4
"""Most channels of a volume for which `SubPixelConv3d` is faster than torch."""
_VECTOR = 16
"""Channels that oneDNN computes at once in float32 with AVX-512; fewer leave lanes idle."""


def _itself(returned: Any) -> Tensor:
    return returned  # type: ignore[no-any-return]


def accelerated(
    network: nn.Module,
    device: torch.device,
    *,
    compiled: bool = False,
    take: Callable[[object], Tensor] = _itself,
) -> nn.Module:
    """Return an equivalent network that evaluates faster.

    Args:
        network: Left as it is.
        device: Where it runs.
        compiled: Whether to run through `torch.compile`, with CUDA graphs on a GPU; this makes the
            first passes slow.
        take: From what the network returns to the tensor that a compiled one returns.

    Returns:
        A network to evaluate, not to train; `network` itself if it offers no `folded` and is not to
        be compiled.
    """
    offered = getattr(network, "folded", None)
    folded: nn.Module = offered() if callable(offered) else network
    # Without a copy the network is the caller's, and none of its layers may be replaced.
    if folded is not network and device.type == "cpu":
        _arrange_convolutions(folded)
    return _Compiled(folded, device, take) if compiled else folded


class SubPixelConv3d(nn.Module):
    """A strided convolution of volumes with few channels that has a fast input gradient.

    torch computes the input gradient of such a convolution many times slower than its output. The
    gradient is a convolution as well: each phase, that is each offset within a stride, has a kernel
    made of the taps that reach it, and the results of all phases are interleaved (Shi et al., "Is
    the deconvolution layer the same as a convolutional layer?", arXiv 1609.07009).

    Args:
        conv: Neither grouped nor dilated, with as much zero padding before as after each axis; its
            weights must not change afterwards.
    """

    kernel: Tensor

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        # With few phases the last axis is cut into blocks of several strides, each a phase, until
        # the channels of the gradient's convolution fill a vector register.
        filled = _VECTOR // (conv.in_channels * math.prod(conv.stride))
        self.strides = (1, 1, max(1, filled))
        """Strides of the forward convolution that one step of the gradient's takes."""
        self.blocks = [n * many for n, many in zip(conv.stride, self.strides, strict=True)]
        # Tap t of the output at o meets the input at stride · o + t − padding. Phase r of the
        # input's position block · q + r, with block = stride · n, is therefore met by
        # t = r + padding − stride · (o − n · q).
        padding = [int(size) for size in conv.padding]
        axes = list(zip(conv.kernel_size, padding, conv.stride, self.blocks, strict=True))
        self.first = [-((size - 1 - pad) // stride) for size, pad, stride, _ in axes]
        self.last = [(block - 1 + pad) // stride for _, pad, stride, block in axes]
        # A phase may need up to block − 1 taps outside the kernel; they are zero.
        margins = [block - 1 for block in reversed(self.blocks) for _ in range(2)]
        taps = [
            torch.arange(block)[:, None]
            + (pad + block - 1)
            - stride * torch.arange(first, last + 1)
            for (_, pad, stride, block), first, last in zip(
                axes, self.first, self.last, strict=True
            )
        ]
        kernel = F.pad(conv.weight.detach(), margins)
        kernel = kernel[:, :, taps[0]][:, :, :, :, taps[1]][..., taps[2]]
        # (out, in, phase, offset, phase, offset, phase, offset) to (phases · in, out, offsets…).
        kernel = kernel.permute(2, 4, 6, 1, 0, 3, 5, 7).flatten(0, 3)
        self.register_buffer("kernel", kernel.contiguous(memory_format=torch.channels_last_3d))

    def forward(self, volumes: Tensor) -> Tensor:
        """The convolution's output for volumes (B, C, D, H, W)."""
        convolved: Tensor = _SubPixelConvolution.apply(volumes, self)  # type: ignore[no-untyped-call]
        return convolved

    def gradient(self, gradient: Tensor, grid: torch.Size) -> Tensor:
        """The gradient of volumes on their grid (D, H, W), from that of the output."""
        coarse = [math.ceil(n / block) for n, block in zip(grid, self.blocks, strict=True)]
        borders: list[int] = []
        for axis in (2, 1, 0):
            seen = self.strides[axis] * (coarse[axis] - 1) + self.last[axis] + 1
            borders += [-self.first[axis], seen - gradient.shape[2 + axis]]
        phases = F.conv3d(F.pad(gradient, borders), self.kernel, stride=self.strides)
        channels = phases.shape[1] // math.prod(self.blocks)
        interleaved = phases.reshape(-1, *self.blocks, channels, *coarse)
        fine = interleaved.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(
            -1, channels, *(n * block for n, block in zip(coarse, self.blocks, strict=True))
        )
        return fine[:, :, : grid[0], : grid[1], : grid[2]]


class _SubPixelConvolution(torch.autograd.Function):
    """A convolution that is differentiable by its input alone."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, module: SubPixelConv3d) -> Tensor:
        ctx.module, ctx.grid = module, volumes.shape[2:]
        convolved: Tensor = module.conv(volumes)
        return convolved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.module.gradient(gradient, ctx.grid), None


class _Compiled(nn.Module):
    """A network behind `torch.compile` whose output is not overwritten by the next call."""

    def __init__(
        self, network: nn.Module, device: torch.device, take: Callable[[object], Tensor]
    ) -> None:
        super().__init__()
        self.network = network
        self.take = take
        # "reduce-overhead" means CUDA graphs, which only a GPU has.
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        self.run = torch.compile(network, mode=mode)

    def forward(self, volumes: Tensor) -> Tensor:
        # A CUDA graph writes its output to the same place each time.
        return self.take(self.run(volumes)).clone()


def _arrange_convolutions(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            # A subclass may compute something else, and a trainable weight may still change.
            if type(child) is nn.Conv3d and not child.weight.requires_grad:
                # In this layout oneDNN reorders neither input nor output.
                child.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
                if _is_plain(child):
                    slow = child.in_channels <= _FEW_CHANNELS and max(child.stride) > 1
                    kind = SubPixelConv3d if slow else SmallGridConv3d
                    setattr(parent, name, kind(child))


def _is_plain(module: nn.Conv3d) -> bool:
    """Neither grouped nor dilated, with zero padding of a known width."""
    return (
        module.groups == 1
        and max(module.dilation) == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
