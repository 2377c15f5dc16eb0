"""Boxes of voxels: masks of where they lie, and sums over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def box_sums(values: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Sums of (B, 1, D, H, W) over every position of a window, (B, 1, D′, H′, W′)."""
    return F.avg_pool3d(values, window, stride=1, divisor_override=1)


def box_mask(
    corners: Tensor, window: tuple[int, int, int] | Tensor, grid: tuple[int, int, int]
) -> Tensor:
    """Masks of one box for each corner (n, 3), bool (n, 1, D, H, W).

    Args:
        corners: Where each box begins.
        window: The size of all boxes, or that of each, (n, 3).
        grid: (D, H, W).
    """
    inside = []
    for axis, size in enumerate(grid):
        side = window[axis] if isinstance(window, tuple) else window[:, axis, None]
        place = torch.arange(size, device=corners.device)[None]
        start = corners[:, axis, None]
        inside.append((place >= start) & (place < start + side))
    depth, height, width = inside
    return (depth[:, :, None, None] & height[:, None, :, None] & width[:, None, None, :])[:, None]
