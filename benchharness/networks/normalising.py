"""Intensities put on a scale of each volume's own, differentiably.

Every statistic is one volume's, so no answer depends on the other volumes of a batch. A volume
whose intensities are all the same has no scale: it is shifted, never divided by zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    Axes = tuple[int, ...]

FLAT = 1e-6
"""Standard deviations and ranges up to this count as zero; rounding of a constant stays below."""


def zscore(volumes: Tensor, axes: Axes, *, nonzero: bool) -> Tensor:
    """Subtract the mean and divide by the standard deviation (of the population, as MONAI does).

    Args:
        volumes: (B, C, D, H, W).
        axes: Over which the statistics are taken.
        nonzero: Whether voxels that are exactly zero stay zero and count for nothing. A perturbed
            background is no longer zero, so the statistics then jump, and no gradient says so.
    """
    if not nonzero:
        centred = volumes - volumes.mean(axes, keepdim=True)
        return centred / _scale(centred.square().mean(axes, keepdim=True))
    inside = volumes != 0
    count = inside.sum(axes, keepdim=True).clamp_min(1)
    mean = volumes.sum(axes, keepdim=True) / count
    centred = (volumes - mean) * inside
    return centred / _scale(centred.square().sum(axes, keepdim=True) / count)


def _scale(variance: Tensor) -> Tensor:
    """The standard deviation, and 1 where it is flat; the root of zero has no gradient."""
    return torch.where(variance > FLAT**2, variance, 1.0).sqrt()


def minmax(volumes: Tensor, axes: Axes) -> Tensor:
    """Map the smallest intensity to 0 and the largest to 1."""
    lowest, highest = volumes.amin(axes, keepdim=True), volumes.amax(axes, keepdim=True)
    spread = highest - lowest
    return (volumes - lowest) / torch.where(spread > FLAT, spread, 1.0)


def clip_to_percentiles(volumes: Tensor, axes: Axes, lowest: float, highest: float) -> Tensor:
    """Clip to two percentiles, interpolated linearly between voxels as NumPy does.

    Args:
        volumes: (B, C, D, H, W).
        axes: Over which the percentiles are taken: the last three, or the last four.
        lowest: From 0 to 100.
        highest: From 0 to 100.
    """
    ordered = volumes.flatten(axes[0]).sort(dim=-1).values
    bounds = []
    for percentile in (lowest, highest):
        place = percentile / 100 * (ordered.shape[-1] - 1)
        below = int(place)
        above = min(below + 1, ordered.shape[-1] - 1)
        between = torch.lerp(ordered[..., below], ordered[..., above], place - below)
        bounds.append(between.reshape(*between.shape, *[1] * len(axes)))
    return volumes.clamp(*bounds)
