"""How alike a volume and its corrupted copy are: SSIM and PSNR, by which levels are calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray


def window(grid: tuple[int, ...]) -> tuple[int, ...]:
    """A quarter of each axis, rounded down to odd: 7 at 28, 15 at 64.

    SSIM is comparable between grids only with windows of the same fraction of the field of view.
    """
    return tuple(max(1, (size // 4 - 1) | 1) for size in grid)


def ssim(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Mean structural similarity of two volumes with intensities in [0, 1].

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    TIP 13 (2004), equation 13, with a uniform window, K₁ = 0.01, K₂ = 0.03 and unbiased moments.
    Windows that reach over the border are left out of the mean.

    Args:
        one: Shape (D, H, W).
        other: Shape (D, H, W).

    Returns:
        SSIM in [-1, 1]; 1 for equal volumes.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)
    size = window(x.shape)
    count = int(np.prod(size))
    unbiased = count / max(1, count - 1)
    mean_x, mean_y = uniform_filter(x, size), uniform_filter(y, size)
    var_x = unbiased * (uniform_filter(x * x, size) - mean_x**2)
    var_y = unbiased * (uniform_filter(y * y, size) - mean_y**2)
    cov = unbiased * (uniform_filter(x * y, size) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    inner = tuple(slice(w // 2, n - w // 2) for w, n in zip(size, x.shape, strict=True))
    return float((luminance * structure)[inner].mean())


def psnr(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio in dB for intensities in [0, 1]; infinite for equal volumes."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(-10 * np.log10(error))
