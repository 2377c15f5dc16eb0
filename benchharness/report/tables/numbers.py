"""Numbers as tables write them: rounding never makes a number say what it is not."""

from __future__ import annotations

import math

_SAME = 1e-9
"""Differences below this are the noise of floating-point arithmetic."""
_TINY = 1e-6
"""Numbers below this are written in powers of ten."""


def decimals(value: float) -> int | None:
    """How many decimals a score needs: three, or as many as keep it apart from 0 and from 1.

    Returns:
        The number of decimals; None where only a power of ten can be read.
    """
    gap = min(abs(abs(value) - whole) for whole in (0, 1))
    if gap < _SAME or gap >= 5e-4 or not math.isfinite(value):
        return 3
    if abs(value) < _TINY:
        return None
    return min(6, -math.floor(math.log10(gap)))


def fixed(value: float, places: int | None) -> str:
    """A number with that many decimals, or in powers of ten; never `-0.000`."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    if places is None:
        return f"{value:.1e}"
    return f"{round(value, places) + 0.0:,.{places}f}"


def quantity(value: float) -> str:
    """A plain quantity, such as millions of parameters or a threshold.

    Two decimals, and two significant digits where two decimals would show less: a threshold of
    0.00007 is neither 0.00 nor, at 0.99997, 1.00.
    """
    gap = min(abs(value), abs(1 - value)) if abs(value) < 1 else math.inf
    if gap >= 0.095 or gap < 1e-12 or not math.isfinite(value):
        return fixed(value, 2)
    if abs(value) < _TINY:
        return f"{value:.1e}"
    if gap < _TINY:
        return f"1 − {1 - value:.1e}"
    return fixed(value, 1 - math.floor(math.log10(gap)))
