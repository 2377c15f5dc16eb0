"""Intensities of a file → [0, 1] of a window, without losing what float32 would round away."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.preparation import Window

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_COARSE = 2.0**-11
"""Of an intensity: 4096 steps of float32. A window narrower than this loses grey levels."""

_INTEGERS = 2**53
"""Up to here float64 holds every integer."""


def windowed(values: Floats, window: Window, path: Path | str) -> Floats:
    """Map a window's ends to 0 and 1 and clip what lies outside.

    Raises:
        BenchError: When two percentiles are the same intensity.
    """
    low, high = _ends(values, window)
    _refuse_no_contrast(low, high, window, path)
    scaled: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def windowed_exactly(values: Doubles, offset: int, window: Window, path: Path | str) -> Floats:
    """As `windowed`, for intensities from which an offset was subtracted."""
    low, high = _ends(values, window, offset)
    _refuse_no_contrast(low, high, window, path, offset)
    scaled: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def exact(
    values: Floats, window: Window, stored: Callable[[], NDArray[Any]]
) -> tuple[Doubles, int] | None:
    """The intensities with an offset taken off, where float32 is too coarse for the window.

    Args:
        values: The intensities as float32.
        window: What will be made of them.
        stored: Reads them as they are in the file.

    Returns:
        The intensities less an offset, and the offset; None where float32 serves.
    """
    low, high = _ends(values, window)
    if max(abs(low), abs(high)) * _COARSE < high - low:
        return None
    found = stored()
    if found.dtype.kind in "iu":
        base, top = int(found.min()), int(found.max())
        if max(abs(base), abs(top)) <= _INTEGERS and _equal(values, found):
            return None
        # Unsigned arithmetic wraps, so the difference is right even between the ends of int64.
        shifted = found.astype(np.uint64) - np.uint64(base % 2**64)
        return shifted.astype(np.float64), base
    return None if _equal(values, found) else (found.astype(np.float64), 0)


def _equal(values: Floats, found: NDArray[Any]) -> bool:
    return bool((values.astype(np.float64) == found.astype(np.float64)).all())


def _ends(values: NDArray[Any], window: Window, offset: int = 0) -> tuple[float, float]:
    if window.kind == "percentiles":
        low, high = (float(end) for end in np.percentile(values, (window.low, window.high)))
        return low, high
    if offset == 0:
        return window.low, window.high
    low, high = (float(Fraction(end) - Fraction(offset)) for end in (window.low, window.high))
    return low, high


def _refuse_no_contrast(
    low: float, high: float, window: Window, path: Path | str, offset: int = 0
) -> None:
    if low == high:
        raise BenchError(
            f"{path}: percentiles {window.low:g} and {window.high:g} are both {low + offset:g}, so "
            "no contrast is left. Type --window percentiles:0,100, or leave the volume out."
        )
