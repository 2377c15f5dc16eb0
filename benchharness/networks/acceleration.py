"""The same network, as it is best run when its weights no longer change.

Everything here leaves the answers as they are to the rounding of float32. A network may offer a
method `folded() -> nn.Module` that returns a new, equal network for evaluation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

_FEW_CHANNELS = 4
"""Channels of a volume up to which the first convolution is worth a gradient of its own."""


def accelerated(network: nn.Module, device: torch.device, *, compiled: bool = False) -> nn.Module:
    """Return an equal network for evaluation, or the network itself where nothing is known.

    Args:
        network: Left as it is.
        device: Where it runs.
        compiled: Whether to run through `torch.compile`, with CUDA graphs on a GPU; the first
            passes are slow then.
    """
    offered = getattr(network, "folded", None)
    folded: nn.Module = offered() if callable(offered) else network
    # Nothing in a network that belongs to somebody else is replaced.
    if folded is not network and device.type == "cpu":
        _arrange_convolutions(folded)
    return _Compiled(folded, device) if compiled else folded


class SubPixelConv3d(nn.Module):
    """A strided convolution of volumes with few channels, whose input gradient is quick.

    torch differentiates such a convolution by its input many times slower than it computes it. The
    gradient is a convolution as well: for each place within a stride it has a kernel of the taps
    that reach this place, and the answers of all places are interleaved (Shi et al., "Is the
    deconvolution layer the same as a convolutional layer?", arXiv 1609.07009).

    Args:
        conv: Ungrouped, undilated, padded with zeros on both sides alike; its weights must not
            change afterwards.
    """

    kernel: Tensor

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        self.stride = conv.stride
        # Tap t of the answer at o meets the input at stride · o + t − padding. Place r of the
        # input's position stride · q + r is therefore met by t = r + padding − stride · (o − q).
        padding = [int(size) for size in conv.padding]
        axes = list(zip(conv.kernel_size, padding, conv.stride, strict=True))
        self.first = [-((size - 1 - pad) // stride) for size, pad, stride in axes]
        self.last = [(stride - 1 + pad) // stride for _, pad, stride in axes]
        # A place may ask for up to stride − 1 taps outside the kernel; they are zero.
        margins = [stride - 1 for stride in reversed(self.stride) for _ in range(2)]
        taps = [
            torch.arange(stride)[:, None]
            + (pad + stride - 1)
            - stride * torch.arange(first, last + 1)
            for (_, pad, stride), first, last in zip(axes, self.first, self.last, strict=True)
        ]
        kernel = F.pad(conv.weight.detach(), margins)
        kernel = kernel[:, :, taps[0]][:, :, :, :, taps[1]][..., taps[2]]
        # (out, in, place, offset, place, offset, place, offset) to (places · in, out, offsets…).
        kernel = kernel.permute(2, 4, 6, 1, 0, 3, 5, 7).flatten(0, 3)
        self.register_buffer("kernel", kernel.contiguous(memory_format=torch.channels_last_3d))

    def forward(self, volumes: Tensor) -> Tensor:
        """What the convolution makes of volumes (B, C, D, H, W)."""
        convolved: Tensor = _SubPixelConvolution.apply(volumes, self)  # type: ignore[no-untyped-call]
        return convolved

    def gradient(self, gradient: Tensor, grid: torch.Size) -> Tensor:
        """The gradient of the volumes, on their grid (D, H, W), from that of the answers."""
        coarse = [math.ceil(n / stride) for n, stride in zip(grid, self.stride, strict=True)]
        borders: list[int] = []
        for axis in (2, 1, 0):
            after = self.last[axis] + coarse[axis] - gradient.shape[2 + axis]
            borders += [-self.first[axis], after]
        places = F.conv3d(F.pad(gradient, borders), self.kernel)
        channels = places.shape[1] // math.prod(self.stride)
        interleaved = places.reshape(-1, *self.stride, channels, *coarse)
        fine = interleaved.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(
            -1, channels, *(n * stride for n, stride in zip(coarse, self.stride, strict=True))
        )
        return fine[:, :, : grid[0], : grid[1], : grid[2]]


class _SubPixelConvolution(torch.autograd.Function):
    """A convolution by its input alone."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, module: SubPixelConv3d) -> Tensor:
        ctx.module, ctx.grid = module, volumes.shape[2:]
        answers: Tensor = module.conv(volumes)
        return answers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.module.gradient(gradient, ctx.grid), None


class _Compiled(nn.Module):
    """A network behind `torch.compile`; what it returns may be kept."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        # CUDA graphs are what "reduce-overhead" is about; elsewhere there is nothing to reduce.
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        self.run = torch.compile(network, mode=mode)

    def forward(self, volumes: Tensor) -> Tensor:
        # A CUDA graph writes its output to the same place each time.
        return self.run(volumes).clone()  # type: ignore[no-any-return]


def _arrange_convolutions(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            # A subclass may compute something else, and a weight in training changes.
            if type(child) is nn.Conv3d and not child.weight.requires_grad:
                # oneDNN then reorders neither what it reads nor what it writes.
                child.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
                if _has_slow_gradient(child):
                    setattr(parent, name, SubPixelConv3d(child))


def _has_slow_gradient(module: nn.Conv3d) -> bool:
    return (
        module.in_channels <= _FEW_CHANNELS
        and max(module.stride) > 1
        and module.groups == 1
        and max(module.dilation) == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
