"""TorchIO's deterministic transforms, applied to volumes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchharness.artefacts.base import Spacing

UNIT: Spacing = (1.0, 1.0, 1.0)
"""Of volumes whose spacing is unknown."""


def transformed(transform: Any, volume: Tensor, spacing: Spacing = UNIT) -> Tensor:
    """Apply a TorchIO transform to a volume.

    The world's origin is the centre of the grid, because `torchio.Motion` ignores the centre of
    its rotations and rotates about the origin, which would otherwise be a corner.

    Args:
        transform: One of TorchIO's deterministic transforms.
        volume: Shape (C, D, H, W); TorchIO's axes 0, 1, 2 are D, H, W.
        spacing: The unit of the transform's lengths.

    Returns:
        Shape (C, D, H, W).
    """
    return torch.as_tensor(transform(_image(volume, spacing)).data)


def _image(volume: Tensor, spacing: Spacing = UNIT) -> Any:
    import torchio

    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(volume.shape[1:], spacing, strict=True)]
    return torchio.ScalarImage(tensor=volume, affine=affine)  # type: ignore[no-untyped-call]


def resampled(
    volume: Tensor, spacing: Sequence[float], interpolation: str, *, antialias: bool = False
) -> Tensor:
    """Resample to a coarser grid and back, linearly, to the volume's grid.

    Args:
        volume: Shape (C, D, H, W).
        spacing: Of the coarse grid along D, H and W, in voxels of the volume, at least 1.
        interpolation: How the coarse grid is filled: `nearest` or `linear`.
        antialias: Whether a coarse voxel averages the voxels inside it, or samples a point.
    """
    import torchio

    depth, height, width = spacing
    # The coarse grid ends inside the field of view, and TorchIO puts zeros beyond it: the volume is
    # extended by one coarse voxel of its border values, which is cut off again.
    margins = [math.ceil(step) if step > 1 else 0 for step in spacing]
    padding = [side for margin in reversed(margins) for side in (margin, margin)]
    padded = F.pad(volume[None], padding, mode="replicate")[0]
    if antialias:
        # torchio.Resample's own antialiasing refuses axes of fewer than four voxels.
        deep, high, wide = (_point_spread(step) for step in spacing)
        padded = transformed(torchio.Blur(std=(deep, high, wide)), padded)
    image = _image(padded)
    down = torchio.Resample(target=(depth, height, width), image_interpolation=interpolation)
    up = torchio.Resample(
        target=(image.spatial_shape, image.affine.copy()), image_interpolation="linear"
    )
    inner = [slice(m, m + n) for m, n in zip(margins, volume.shape[1:], strict=True)]
    return torch.as_tensor(up(down(image)).data)[:, inner[0], inner[1], inner[2]]


def _point_spread(step: float) -> float:
    """Standard deviation, in voxels, of the Gaussian that widens voxels to a coarser step.

    Cardoso et al., "Scale factor point spread function matching", MICCAI 2015: variances add up,
    and the full width at half maximum of a voxel is its edge.
    """
    return math.sqrt((step**2 - 1) / (8 * math.log(2))) if step > 1 else 0.0


def rigid(
    volume: Tensor, degrees: Tensor, fractions: Tensor, spacing: Spacing = UNIT
) -> tuple[Any, Any]:
    """Turn drawn movements into rotations and translations; a volume of depth 1 stays in its plane.

    Args:
        volume: Shape (C, D, H, W).
        degrees: Shape (..., 3), rotations about D, H and W.
        fractions: Shape (..., 3), translations as fractions of the field of view.
        spacing: The unit of the translations that are returned.

    Returns:
        Degrees and translations, as NumPy float64 arrays.
    """
    sizes = torch.tensor(volume.shape[1:], dtype=torch.float64)
    flat = sizes == 1
    sizes = sizes * torch.tensor(spacing, dtype=torch.float64)
    if bool(flat.any()):
        degrees = torch.where(flat, degrees, torch.zeros_like(degrees))
        fractions = torch.where(flat, torch.zeros_like(fractions), fractions)
    return degrees.numpy(), (fractions * sizes).numpy()
