"""A volume as a small picture: its centre slices along three axes, side by side."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Volume = NDArray[np.floating]
    """(C, D, H, W) in [0, 1], or a map (D, H, W)."""
    Image = NDArray[np.uint8]
    """(rows, columns), or (rows, columns, 3) in colour."""

_GAP = 2
"""Columns between slices."""
_THINNEST = 4
"""Slices with a shorter side are left out; of a flat volume, one is left."""
_LARGEST = 128
"""Voxels along a side that a picture keeps."""
_QUALITY = 82
"""Of WebP in colour. Grey pictures are kept without loss."""


def strip(volume: Volume) -> NDArray[np.float64]:
    """The centre slices of a volume, (rows, columns); channels are averaged, NaN between slices."""
    grey = np.asarray(volume, np.float64)
    grey = grey.mean(axis=0) if grey.ndim == 4 else grey
    slices = [grey.take(size // 2, axis=axis) for axis, size in enumerate(grey.shape)]
    shown = [one for one in slices if min(one.shape) >= _THINNEST] or slices[:1]
    shown = [_thinned(one) for one in shown]
    rows = max(len(one) for one in shown)
    parts: list[NDArray[np.float64]] = []
    for one in shown:
        above = (rows - len(one)) // 2
        below = rows - len(one) - above
        padded = np.pad(one, ((above, below), (0, 0)), constant_values=np.nan)
        parts += [padded, np.full((rows, _GAP), np.nan)]
    return np.concatenate(parts[:-1], axis=1)


def _thinned(one: NDArray[np.float64]) -> NDArray[np.float64]:
    step = -(-max(one.shape) // _LARGEST)
    return one[::step, ::step]


def grey(shown: NDArray[np.float64]) -> Image:
    """Intensities in [0, 1] as grey; what is between slices is black."""
    return (np.nan_to_num(np.clip(shown, 0, 1)) * 255 + 0.5).astype(np.uint8)


def difference(clean: NDArray[np.float64], perturbed: NDArray[np.float64]) -> tuple[Image, float]:
    """Perturbed minus clean, scaled to its peak: grey is 0, white +peak, black −peak.

    Returns:
        The picture and the peak, which is 0 where nothing changed.
    """
    change = perturbed - clean
    peak = float(np.nanmax(np.abs(change)))
    scaled = change / peak if peak > 0 else change
    return grey(0.5 + 0.5 * scaled), peak


def overlay(shown: NDArray[np.float64], heat: NDArray[np.float64]) -> Image:
    """A heat map over intensities, in colour; the map is scaled to its peak."""
    import matplotlib as mpl

    peak = float(np.nanmax(heat))
    strength = np.nan_to_num(heat / peak if peak > 0 else heat)[..., None]
    colours = mpl.colormaps["inferno"](strength[..., 0])[..., :3]
    base = np.nan_to_num(np.clip(shown, 0, 1))[..., None]
    mixed = base * (1 - 0.75 * strength) + colours * 0.75 * strength
    return (np.clip(mixed, 0, 1) * 255 + 0.5).astype(np.uint8)


def data_uri(image: Image) -> str:
    """A picture as a data URI: WebP, or PNG where this Pillow has no WebP."""
    from PIL import features
    from PIL.Image import fromarray

    webp = features.check("webp")
    options = {"lossless": True, "method": 6} if image.ndim == 2 else {"quality": _QUALITY}
    saved = io.BytesIO()
    kind = "webp" if webp else "png"
    save: Callable[..., None] = fromarray(image).save
    save(saved, kind.upper(), **(options if webp else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(saved.getvalue()).decode()}"
