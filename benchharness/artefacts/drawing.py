"""Draws that artefacts share, each from a generator that is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw float64 values, uniform on [low, high)."""
    unit = torch.rand(shape, generator=generator, dtype=torch.float64)
    return low + (high - low) * unit


def signed(generator: Generator, limit: float, *shape: int) -> Tensor:
    """Draw float64 values of either sign, their magnitudes uniform on [limit / 2, limit).

    No draw is near zero, so that no volume escapes its artefact.
    """
    magnitude = uniform(generator, limit / 2, limit, *shape)
    sign = torch.randint(0, 2, shape, generator=generator, dtype=torch.float64) * 2 - 1
    return magnitude * sign


def integer(generator: Generator, low: int, high: int) -> int:
    """Draw an integer, uniform on low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def wide_axis(generator: Generator, volume: Tensor) -> int:
    """Draw one of the spatial axes, 0 to 2, that are longer than one voxel."""
    wide = [axis for axis in range(3) if volume.shape[axis + 1] > 1] or [2]
    return wide[integer(generator, 0, len(wide) - 1)]


def foreground_box(volume: Tensor) -> tuple[slice, slice, slice]:
    """The smallest box around every voxel brighter than the darkest tenth of the range.

    Args:
        volume: Shape (C, D, H, W).

    Returns:
        A slice for each of D, H and W; the whole grid when the volume is constant.
    """
    low, high = float(volume.min()), float(volume.max())
    bright = (volume > low + 0.1 * (high - low)).any(dim=0)
    if not bool(bright.any()):
        return slice(0, volume.shape[1]), slice(0, volume.shape[2]), slice(0, volume.shape[3])
    places = bright.nonzero()
    first, last = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    depth, height, width = (slice(a, b + 1) for a, b in zip(first, last, strict=True))
    return depth, height, width
