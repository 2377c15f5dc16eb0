"""One file → one volume on a grid: read, orient, window, resample, crop or pad, quantise."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.base import Spacing
    from benchharness.datasets.preparation import Window

    Floats = NDArray[np.float32]

_REASON = 200
"""Characters of a library's message that are passed on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """The grid of a file, with its axes as stored."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] | None
    """From voxel indices to RAS+ millimetres, (4, 4); None where the format has none."""

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size of the field of view, (D, H, W) in mm, or in voxels where there is no affine.

        D, H and W are the axes nearest to inferior-superior, posterior-anterior and left-right.
        """
        if self.affine is None:
            depth, height, width = self.shape
            return float(depth), float(height), float(width)
        from nibabel.orientations import io_orientation

        spacings = np.sqrt(np.square(self.affine[:3, :3]).sum(axis=0))
        axes = np.asarray(io_orientation(self.affine))[:, 0].astype(int).tolist()  # type: ignore[no-untyped-call]
        by_axis = {a: float(n * s) for a, n, s in zip(axes, self.shape, spacings, strict=True)}
        return by_axis[2], by_axis[1], by_axis[0]


def header(path: Path) -> Header:
    """Read the grid of a file, without its voxels where the format allows.

    Raises:
        BenchError: When the file cannot be read or does not hold one 3-D volume.
    """
    with _readable(path):
        found = _READERS[_suffix(path)](path, voxels=False)[0]
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
    with _readable(path):
        found, values = _READERS[_suffix(path)](path, voxels=True)
        _checked(found, path)
        assert values is not None
        if not np.isfinite(values).all():
            raise BenchError(
                f"{path} holds NaN or infinity. Replace these voxels, or leave the volume out."
            )
        resampled = _resampled(_windowed(values, window, path), found.affine, size, spacing)
    volume = np.rint(resampled * 255).astype(np.uint8)
    if volume.min() == volume.max():
        raise BenchError(
            f"{path} is {volume.min()} everywhere on a grid of {size} at {_text(spacing)} with "
            f"--window {window}. Widen the window, or leave the volume out."
        )
    return volume


def _windowed(values: Floats, window: Window, path: Path) -> Floats:
    low, high = window.low, window.high
    if window.kind == "percentiles":
        low, high = (float(end) for end in np.percentile(values, (window.low, window.high)))
        if low == high:
            raise BenchError(
                f"{path}: percentiles {window.low:g} and {window.high:g} are both {low:g}, so no "
                "contrast is left. Type --window percentiles:0,100, or leave the volume out."
            )
    scaled: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def _resampled(
    values: Floats,
    affine: NDArray[np.float64] | None,
    size: tuple[int, int, int],
    spacing: Spacing,
) -> Floats:
    """Orient and resample (X, Y, Z), or (D, H, W) without an affine, to the grid, (D, H, W)."""
    import torch
    import torchio

    if affine is None:
        values, affine = values.transpose(2, 1, 0), np.eye(4)
    tensor = torch.from_numpy(np.ascontiguousarray(values)[None])
    image = torchio.ToCanonical()(torchio.ScalarImage(tensor=tensor, affine=affine))  # type: ignore[no-untyped-call]
    stored = np.asarray(image.affine)
    steps = np.sqrt(np.square(stored[:3, :3]).sum(axis=0))
    wanted, shape = np.asarray(spacing[::-1]), np.asarray(size[::-1])
    target = np.eye(4)
    target[:3, :3] = stored[:3, :3] / steps * wanted
    centre = stored[:3, :3] @ ((np.asarray(image.spatial_shape) - 1) / 2) + stored[:3, 3]
    target[:3, 3] = centre - target[:3, :3] @ ((shape - 1) / 2)
    smooth = _antialiased(image.data[0].numpy(), wanted / steps)
    image.set_data(torch.from_numpy(smooth[None]))
    resampled = torchio.Resample((tuple(shape.tolist()), target))(image)
    found: Floats = np.clip(resampled.data[0].numpy().transpose(2, 1, 0), 0, 1)
    return found


def _antialiased(values: Floats, factors: NDArray[np.float64]) -> Floats:
    """Smooth each axis that gets coarser by a factor f with σ² = (f² − 1) / (8 ln 2) voxels.

    Cardoso et al., "Scale factor point spread function matching", MICCAI 2015: voxels of the old
    and of the new width, as full widths at half maximum. `torchio.Resample` offers the same, but
    fails on axes of fewer than four voxels.
    """
    from scipy.ndimage import gaussian_filter1d

    for axis, factor in enumerate(factors.tolist()):
        if factor > 1 + 1e-6 and values.shape[axis] > 1:
            sigma = np.sqrt((factor**2 - 1) / (8 * np.log(2)))
            values = gaussian_filter1d(values, sigma, axis=axis, mode="nearest")
    return values


def _nifti(path: Path, *, voxels: bool) -> tuple[Header, Floats | None]:
    import nibabel

    image: Any = nibabel.load(path)
    kind = image.get_data_dtype()
    if kind.kind not in "biuf":
        raise BenchError(f"{path} holds {kind} voxels; expected one number a voxel.")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    found = Header(shape=shape, affine=np.asarray(image.affine, np.float64))  # type: ignore[arg-type]
    if not voxels or len(shape) != 3:
        return found, None
    return found, image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape)


def _nrrd(path: Path, *, voxels: bool) -> tuple[Header, Floats | None]:
    import SimpleITK

    _refuse_detached(path)
    reader: Any = SimpleITK.ImageFileReader()  # type: ignore[no-untyped-call]
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    shape = tuple(int(n) for n in reader.GetSize())
    if reader.GetNumberOfComponents() > 1:
        shape = (*shape, int(reader.GetNumberOfComponents()))
    if len(shape) != 3:
        return Header(shape=shape, affine=np.eye(4)), None  # type: ignore[arg-type]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    # ITK's axes point to left and posterior, ours to right and anterior.
    found = Header(shape=shape, affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    if not voxels:
        return found, None
    values = SimpleITK.GetArrayFromImage(reader.Execute()).transpose(2, 1, 0)
    return found, values.astype(np.float32)


def _refuse_detached(path: Path) -> None:
    """Refuse an NRRD with its voxels in another file, which the digest would not cover."""
    with path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                return
            if line.lower().startswith((b"data file:", b"datafile:")):
                raise BenchError(
                    f"{path} keeps its voxels in another file. Save it as one .nrrd with its "
                    "header attached."
                )


def _numpy(path: Path, *, voxels: bool) -> tuple[Header, Floats | None]:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.dtype.kind not in "biuf":
        raise BenchError(f"{path} holds {values.dtype} voxels; expected one number a voxel.")
    found = Header(shape=values.shape, affine=None)
    return found, np.asarray(values, np.float32) if voxels else None


_READERS = {".nii": _nifti, ".nrrd": _nrrd, ".npy": _numpy}


def _suffix(path: Path) -> str:
    return PurePath(path.name.lower().removesuffix(".gz")).suffix


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
