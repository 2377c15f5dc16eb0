"""Parallel-beam tomography of a stack of slices: projection, ramp filter, back-projection.

Kak and Slaney, "Principles of computerized tomographic imaging", 1988, chapter 3. Projection
distributes each pixel's value over the two detector bins next to its shadow; back-projection is the
transpose, which is linear interpolation. Both are products with one sparse matrix, in one thread
and float64.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


def reconstruct(slices: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project slices and reconstruct them from weighted views.

    Args:
        slices: Shape (D, H, W).
        weights: Shape (V,), one weight for each of V views evenly spaced over half a turn. Ones
            reconstruct the slices.

    Returns:
        Shape (D, H, W).
    """
    depth, height, width = slices.shape
    views = len(weights)
    matrix, bins = _projection(height, width, views)
    sinogram = (matrix @ slices.reshape(depth, -1).T).reshape(views, bins, depth)
    filtered = _ramp(sinogram) * weights[:, None, None]
    image = matrix.T @ filtered.reshape(views * bins, depth)
    scaled: NDArray[np.float64] = image.T.reshape(slices.shape) * (math.pi / views)
    return scaled


@lru_cache(maxsize=4)
def _projection(height: int, width: int, views: int) -> tuple[Any, int]:
    """The matrix from pixels to (view, bin), with bins one pixel wide, and the number of bins."""
    y = np.arange(height) - (height - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    angles = np.arange(views) * math.pi / views
    shadow = (
        np.cos(angles)[:, None, None] * x[None, None, :]
        + np.sin(angles)[:, None, None] * y[None, :, None]
    ).reshape(views, -1)
    bins = 2 * math.ceil(math.hypot(height, width) / 2) + 3
    place = shadow + (bins - 1) / 2
    left = np.floor(place).astype(np.int64)
    share = place - left
    rows = np.arange(views)[:, None] * bins + left
    columns = np.broadcast_to(np.arange(height * width), rows.shape)
    matrix = sparse.coo_array(
        (
            np.concatenate([(1 - share).ravel(), share.ravel()]),
            (
                np.concatenate([rows.ravel(), rows.ravel() + 1]),
                np.concatenate([columns.ravel(), columns.ravel()]),
            ),
        ),
        shape=(views * bins, height * width),
    )
    return matrix.tocsr(), bins


def _ramp(sinogram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter (V, bins, D) along the bins with the ramp of Ramachandran and Lakshminarayanan."""
    bins = sinogram.shape[1]
    size = 2 ** math.ceil(math.log2(2 * bins))
    distance = np.fft.fftfreq(size, 1 / size)
    kernel = np.zeros(size)
    odd = distance.astype(np.int64) % 2 != 0
    kernel[odd] = -1 / (math.pi * distance[odd]) ** 2
    kernel[0] = 0.25
    spectrum = np.fft.rfft(sinogram, size, axis=1) * np.fft.rfft(kernel)[None, :, None]
    filtered: NDArray[np.float64] = np.fft.irfft(spectrum, size, axis=1)[:, :bins]
    return filtered
