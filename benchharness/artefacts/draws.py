"""Draws that artefacts share, each from a given generator."""

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
    """Draw float64 values of either sign, with magnitudes uniform on [limit / 2, limit).

    No draw is near zero, so no volume escapes its artefact.
    """
    magnitude = uniform(generator, limit / 2, limit, *shape)
    sign = torch.randint(0, 2, shape, generator=generator, dtype=torch.float64) * 2 - 1
    return magnitude * sign


def integer(generator: Generator, low: int, high: int) -> int:
    """Draw an integer, uniform on low..high, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def run(generator: Generator, box: slice, share: float) -> slice:
    """Draw a run of voxels inside a box along one axis, at least one voxel long.

    The place is drawn as a fraction of the free space, so one generator means the same place on
    any grid.

    Args:
        generator: Source of the draw.
        box: The box along this axis.
        share: Length of the run as a fraction of the box.
    """
    length = box.stop - box.start
    extent = max(1, round(share * length))
    start = box.start + int(float(uniform(generator, 0, 1)) * (length - extent + 1))
    return slice(start, start + extent)


def wide_axis(generator: Generator, volume: Tensor) -> int:
    """Draw one of the spatial axes, 0 to 2, longer than one voxel."""
    wide = [axis for axis in range(3) if volume.shape[axis + 1] > 1] or [2]
    return wide[integer(generator, 0, len(wide) - 1)]
