"""Arrays of an archive, as people lay them out → volumes (N, C, D, H, W) and labels (N,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.datasets.intensities import exact, windowed, windowed_exactly
from benchharness.datasets.reading import finite, quantised
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.datasets.base import Levels
    from benchharness.datasets.preparation import Window

    Floats = NDArray[np.float32]

_LAST = (1, 3)
"""Channels of a last axis."""
_FIRST = (1, 2, 3, 4)
"""Channels of an axis behind the first."""
_BITS = 16
"""What is kept of intensities that are no uint8."""


def volumes(images: NDArray[np.generic], source: str, window: Window | None) -> Levels:
    """Lay images of any accepted shape out as (N, C, D, H, W).

    Args:
        images: uint8, or other numbers with a window.
        source: For messages.
        window: Which intensities become 0 and 1, for each channel of each volume; it concerns no
            uint8.

    Raises:
        BenchError: For another shape, numbers that need a window and have none, or NaN.
    """
    if images.size == 0:
        raise BenchError(f"{source} has shape {images.shape}, no voxels; expected at least one.")
    laid_out = _laid_out(images, source)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(laid_out, dtype=np.uint8)
    if images.dtype.kind not in "iuf":
        raise BenchError(f"{source} is {images.dtype}; expected numbers, best uint8 from 0 to 255.")
    if window is None:
        raise missing_window(source, images.dtype)
    made = np.empty(laid_out.shape, np.uint16)
    for place in np.ndindex(laid_out.shape[:2]):
        made[place] = _windowed(laid_out[place], window, f"{source}, volume {place[0]}")
    return made


def missing_window(source: str, kind: np.dtype[np.generic]) -> BenchError:
    """What to say of images that are no uint8 where nobody said which intensities matter."""
    return BenchError(
        f"{source} is {kind}, which does not say what is black and what is white. Type --window: "
        "range:0,1 for numbers from 0 to 1, range:0,65535 for 16 bits in full, ct:40,400 for "
        "Hounsfield units, percentiles:0.5,99.5 for MRI. uint8 needs none."
    )


def _windowed(values: NDArray[np.generic], window: Window, name: str) -> Levels:
    floats = finite(values.astype(np.float32), name)
    precise = exact(floats, window, lambda: values)
    scaled = (
        windowed(floats, window, name)
        if precise is None
        else windowed_exactly(*precise, window, name)
    )
    return quantised(scaled, _BITS)


def _laid_out(images: NDArray[np.generic], source: str) -> NDArray[np.generic]:
    shape = images.shape
    if len(shape) == 3:  # (N, H, W)
        return images[:, None, None]
    if len(shape) == 4 and shape[3] in _LAST:  # (N, H, W, C)
        return np.moveaxis(images, 3, 1)[:, :, None]
    if len(shape) == 4:  # (N, D, H, W)
        return images[:, None]
    if len(shape) == 5 and shape[4] in _LAST:  # (N, D, H, W, C)
        return np.moveaxis(images, 4, 1)
    if len(shape) == 5 and shape[1] in _FIRST:  # (N, C, D, H, W)
        return images
    raise BenchError(
        f"{source} has shape {shape}; expected (N, D, H, W), (N, D, H, W, C) with C = 1 or 3, or "
        "(N, C, D, H, W) with C = 1 to 4, or flat images, (N, H, W) or (N, H, W, C)."
    )


def labels(found: NDArray[np.generic], source: str) -> NDArray[np.int64]:
    """Turn integers (N,) or (N, 1), or one-hot labels (N, K), into int64 (N,).

    Raises:
        BenchError: For other shapes, other numbers, or a row with several classes or none.
    """
    if found.ndim == 2 and found.shape[1] > 1:
        return _from_one_hot(found, source)
    if found.dtype.kind not in "iu":
        raise BenchError(f"{source} is {found.dtype}; expected integer class labels, 0 to K-1.")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise BenchError(
            f"{source} has shape {found.shape}; expected (N,) or (N, 1), one label per volume, or "
            "one-hot labels (N, K)."
        )
    if found.size == 0:
        raise BenchError(f"{source} has shape {found.shape}, no labels; expected at least one.")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= np.iinfo(np.int32).max:
        raise BenchError(f"{source} has labels {low}..{high}; expected class labels, 0 to K-1.")
    return found.astype(np.int64)


def _from_one_hot(found: NDArray[np.generic], source: str) -> NDArray[np.int64]:
    marked = found.astype(np.float64) if found.dtype.kind in "biuf" else np.full(found.shape, -1.0)
    wrong = np.flatnonzero(~(((marked == 0) | (marked == 1)).all(1) & (marked.sum(1) == 1)))
    if len(wrong):
        raise BenchError(
            f"{source} has shape {found.shape}; expected (N,) or (N, 1), one label per volume, or "
            f"one-hot labels (N, K), but row {wrong[0]} is no 1 among zeros."
        )
    chosen: NDArray[np.int64] = marked.argmax(axis=1).astype(np.int64)
    return chosen
