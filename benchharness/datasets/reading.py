"""One file → one volume on a grid: read, orient, window, resample, crop or pad, quantise."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.datasets import formats
from benchharness.datasets.formats import Header
from benchharness.datasets.intensities import exact, windowed, windowed_exactly
from benchharness.datasets.resampling import has_ties, resampled
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.base import Spacing
    from benchharness.datasets.preparation import Window

    Floats = NDArray[np.float32]

__all__ = ["Header", "Made", "grid", "header", "make"]

_REASON = 200
"""Characters of a library's message that are passed on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A volume on its grid, and what is known of the file that it came from."""

    volume: NDArray[np.uint8]
    """Shape (D, H, W)."""
    content: str
    """Digest of the voxels as read and oriented, whatever file, format or type holds them."""
    marks: tuple[str, ...]
    """Why the volume is not what preparation `VERSION` 1 first made of the file; mostly empty.

    A unit other than mm, which was taken for mm; `voxels`, where float32 had rounded intensities
    too much or a face of the volume was left black.
    """


def header(path: Path) -> Header:
    """Read the grid of a file, without its voxels where the format allows.

    Raises:
        BenchError: When the file cannot be read or does not hold one 3-D volume.
    """
    with _readable(path):
        found = formats.read(path, "none")[0]
    return _checked(found, path)


def grid(
    path: Path, *, size: tuple[int, int, int], spacing: Spacing, window: Window
) -> NDArray[np.uint8]:
    """Read a volume and put it on a grid that shares its centre.

    Axes are permuted and flipped, never rotated, to D from inferior to superior, H from posterior
    to anterior and W from left to right; a `.npy` is (D, H, W) already. Intensities are windowed to
    [0, 1] before they are resampled, so the space outside the volume is as dark as the window's low
    end. An axis that gets coarser is smoothed first.

    Args:
        path: NIfTI, NRRD or `.npy`.
        size: Voxels of the grid, (D, H, W).
        spacing: Of the grid, in mm, or in voxels of a `.npy`.
        window: Which intensities become 0 and 255.

    Returns:
        Shape (D, H, W).

    Raises:
        BenchError: When the file cannot be read, does not hold one 3-D volume of finite numbers, or
            has only one grey level left on the grid.
    """
    return make(path, size=size, spacing=spacing, window=window).volume


def make(path: Path, *, size: tuple[int, int, int], spacing: Spacing, window: Window) -> Made:
    """As `grid`, with what else is known of the file.

    Raises:
        BenchError: As `grid`.
    """
    with _readable(path):
        found, values = _read(path)

        def on_grid(scaled: Floats, *, faces: bool) -> NDArray[np.uint8]:
            made = resampled(scaled, found.affine, size, spacing, faces=faces)
            return np.rint(made * 255).astype(np.uint8)

        precise = exact(values, window, lambda: _stored(path))
        scaled = (
            windowed(values, window, path)
            if precise is None
            else windowed_exactly(*precise, window, path)
        )
        volume = on_grid(scaled, faces=True)
        marks = found.units
        if precise is not None or has_ties(found.shape, found.affine, size, spacing):
            before = _before(values, window, path)
            if before is None or (on_grid(before, faces=False) != volume).any():
                marks = (*marks, "voxels")
        content = _content(values if precise is None else precise[0], found)
    if volume.min() == volume.max():
        raise BenchError(
            f"{path} is {volume.min()} everywhere on a grid of {size} at {_text(spacing)} with "
            f"--window {window}. Widen the window, or leave the volume out."
        )
    return Made(volume=volume, content=content, marks=marks)


def _read(path: Path) -> tuple[Header, Floats]:
    found, values = formats.read(path, "float32")
    _checked(found, path)
    assert values is not None
    floats = np.asarray(values, np.float32)
    if not np.isfinite(floats).all():
        raise BenchError(
            f"{path} holds NaN or infinity. Replace these voxels, or leave the volume out."
        )
    return found, floats


def _stored(path: Path) -> NDArray[Any]:
    return np.asarray(formats.read(path, "exact")[1])


def _before(values: Floats, window: Window, path: Path) -> Floats | None:
    """What was made of a volume when its voxels were always float32; None if nothing."""
    try:
        return windowed(values, window, path)
    except BenchError:
        return None


def _content(values: NDArray[Any], found: Header) -> str:
    """Digest of voxels that does not depend on how a file stores them."""
    from nibabel.orientations import apply_orientation, io_orientation

    if found.affine is None:
        oriented = values.transpose(2, 1, 0)
    else:
        oriented = apply_orientation(values, io_orientation(found.affine))  # type: ignore[no-untyped-call]
    digest = hashlib.sha256(repr((oriented.shape, oriented.dtype.str)).encode())
    digest.update(np.ascontiguousarray(oriented + 0.0).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # parsers may raise anything for damaged bytes
        text = " ".join(str(error).split()) or type(error).__name__
        reason = text.rpartition("ERROR: ")[2][:_REASON].rstrip(".")
        raise BenchError(
            f"cannot read volume {path}: {reason}. Replace the file or take it out of the dataset."
        ) from error


def _checked(found: Header, path: Path) -> Header:
    if len(found.shape) != 3 or 0 in found.shape:
        raise BenchError(
            f"{path} has shape {tuple(found.shape)}; expected one volume of three axes. Save each "
            "channel or time point as a separate file and list one of them."
        )
    if found.affine is not None:
        steps = np.sqrt(np.square(found.affine[:3, :3]).sum(axis=0))
        if not np.isfinite(found.affine).all() or not (steps > 0).all():
            raise BenchError(f"{path} has no valid affine in its header. Write the file again.")
    return found


def _text(spacing: Spacing) -> str:
    return " × ".join(f"{step:g}" for step in spacing)
