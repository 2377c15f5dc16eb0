"""The files of one volume → its channels on a grid: read, orient, window, resample, quantise."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.datasets import formats
from benchharness.datasets.formats.header import Header, is_sheared
from benchharness.datasets.intensities import exact, windowed, windowed_exactly
from benchharness.datasets.preparation import MOST_CHANNELS
from benchharness.datasets.resampling import has_ties, onto, place, resampled
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.base import Levels, Spacing
    from benchharness.datasets.preparation import Preparation

    Floats = NDArray[np.float32]

__all__ = ["Header", "Layer", "Made", "finite", "header", "layers", "make", "quantised", "readable"]

_REASON = 200
"""Characters of a library's message that are passed on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A volume on its grid, and what is known of the files that it came from."""

    volume: Levels
    """Shape (C, D, H, W)."""
    content: tuple[str, ...]
    """Of each channel: digest of the voxels as read and oriented, whatever file, format or type
    holds them."""
    marks: tuple[str, ...] = ()
    """Why a volume of 8 bits is not what preparation `VERSION` 1 first made of the file; mostly
    empty.

    A unit other than mm, which was taken for mm; `voxels`, where float32 had rounded intensities
    too much, a face of the volume was left black, or slices were left shifted.
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One channel as it was read."""

    path: Path
    name: str
    """For messages: the path, with the channel where a file holds several."""
    header: Header
    """Its shape has three axes."""
    values: Floats
    """(X, Y, Z), or (D, H, W) without an affine."""
    channel: int | None
    """Which of the file's, or None."""
    channels: int | None
    """How many the file holds, or None."""

    def stored(self) -> NDArray[Any]:
        """The intensities as they are in the file."""
        found, values = formats.read(self.path, "exact")
        _, several = _three_axes(found, np.asarray(values), self.path, self.channels)
        return several if self.channel is None else several[..., self.channel]


def header(path: Path, channels: int | None = None) -> Header:
    """Read the grid of a volume, without its voxels where the format allows.

    Args:
        path: A file, or a folder of DICOM slices.
        channels: How many channels the file must hold; None for one volume of three axes.

    Raises:
        BenchError: When it cannot be read or does not hold what is expected.
    """
    with readable(path):
        found = formats.read(path, "none")[0]
        return _three_axes(found, None, path, channels)[0]


def layers(paths: Sequence[Path], channels: int | None = None) -> list[Layer]:
    """Read the channels of a volume.

    Args:
        paths: One file a channel, or one file.
        channels: How many channels a file must hold; None for one volume of three axes.

    Raises:
        BenchError: When a file cannot be read or does not hold what is expected, or when some know
            where they lie and some do not.
    """
    found: list[Layer] = []
    for path in paths:
        with readable(path):
            raw, values = formats.read(path, "float32")
            head, several = _three_axes(raw, values, path, channels)
        numbers: list[int | None] = [None] if channels is None else [*range(channels)]
        for number in numbers:
            name = str(path) if number is None else f"{path}, channel {number + 1}"
            single = several if number is None else several[..., number]
            floats = finite(np.asarray(single, np.float32), name)
            found.append(
                Layer(
                    path=path,
                    name=name,
                    header=head,
                    values=floats,
                    channel=number,
                    channels=channels,
                )
            )
    _refuse_unrelated(found)
    return found


def make(
    paths: Sequence[Path], preparation: Preparation, spacing: Spacing, channels: int | None = None
) -> Made:
    """Read a volume and put its channels on a grid that shares the first one's centre.

    Axes are permuted and flipped, never rotated, to D from inferior to superior, H from posterior
    to anterior and W from left to right; a `.npy` is (D, H, W) already. Intensities are windowed to
    [0, 1] before they are resampled, so the space outside the volume is as dark as the window's low
    end. An axis that gets coarser is smoothed first. Slices that are shifted against each other
    come to lie above each other, and further channels come to lie where the first one is.

    Args:
        paths: One file a channel, or one file.
        preparation: Size, window and bits.
        spacing: Of the grid, in mm, or in voxels of a `.npy`.
        channels: How many channels the file holds, where there is one of several.

    Raises:
        BenchError: As `layers`, when a file holds NaN, or when a channel has only one grey level
            left on the grid.
    """
    found = layers(paths, channels)
    size, window, bits = preparation.size, preparation.window, preparation.bits
    grids, contents = [], []
    marks: tuple[str, ...] = ()
    for layer in found:
        with readable(layer.path):
            precise = exact(layer.values, window, layer.stored)
            scaled = (
                windowed(layer.values, window, layer.name)
                if precise is None
                else windowed_exactly(*precise, window, layer.name)
            )
            grid = quantised(_on_grid(scaled, layer, found[0], size, spacing), bits)
            _refuse_flat(grid, layer, preparation, spacing)
            if bits == 8 and len(found) == 1:
                marks = _marks(layer, grid, preparation, spacing, rounded=precise is not None)
            grids.append(grid)
            contents.append(_content(layer.values if precise is None else precise[0], layer.header))
    return Made(volume=np.stack(grids), content=tuple(contents), marks=marks)


def quantised(volume: Floats, bits: int) -> Levels:
    """Intensities in [0, 1] in 255 or 65535 steps."""
    steps, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    levels: Levels = np.rint(volume * steps).astype(kind)
    return levels


def finite(values: Floats, name: object) -> Floats:
    """The same values.

    Raises:
        BenchError: When one of them is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise BenchError(
            f"{name} holds NaN or infinity. Replace these voxels, or leave the volume out."
        )
    return values


def _on_grid(
    scaled: Floats, layer: Layer, first: Layer, size: tuple[int, int, int], spacing: Spacing
) -> Floats:
    affine, own = first.header.affine, layer.header.affine
    if affine is None or own is None:
        return resampled(scaled, None, size, spacing)
    apart = layer.header.shape != first.header.shape or not np.allclose(own, affine, atol=1e-4)
    if apart or is_sheared(affine):
        return onto(scaled, own, place(first.header.shape, affine, size, spacing), size)
    return resampled(scaled, affine, size, spacing)


def _marks(
    layer: Layer, grid: Levels, preparation: Preparation, spacing: Spacing, *, rounded: bool
) -> tuple[str, ...]:
    found, size = layer.header, preparation.size
    shape, affine = found.shape, found.affine
    sheared = affine is not None and is_sheared(affine)
    if not (rounded or sheared or has_ties(shape, affine, size, spacing)):
        return found.units
    try:
        before = windowed(layer.values, preparation.window, layer.name)
    except BenchError:  # when its voxels were always float32, nothing was made of the volume
        return (*found.units, "voxels")
    once = quantised(resampled(before, affine, size, spacing, faces=False), 8)
    return (*found.units, "voxels") if (once != grid).any() else found.units


def _refuse_flat(grid: Levels, layer: Layer, preparation: Preparation, spacing: Spacing) -> None:
    if grid.min() == grid.max():
        raise BenchError(
            f"{layer.name} is {grid.min()} everywhere on a grid of {preparation.size} at "
            f"{' × '.join(f'{step:g}' for step in spacing)} with --window {preparation.window}. "
            "Widen the window, or leave the volume out."
        )


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
def readable(path: Path) -> Iterator[None]:
    """Turn whatever parsers raise for damaged bytes into one line.

    Raises:
        BenchError: For any error inside.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        reason = text.rpartition("ERROR: ")[2][:_REASON].rstrip(".")
        raise BenchError(
            f"cannot read volume {path}: {reason}. Replace the file or take it out of the dataset."
        ) from error


def _three_axes(
    found: Header, values: Any, path: Path, channels: int | None
) -> tuple[Header, NDArray[Any]]:
    """The header of one channel, and the voxels with their channels last where there are several.

    Raises:
        BenchError: When there are other axes or another number of channels, or no valid affine.
    """
    shape = tuple(found.shape)
    if channels is not None and len(shape) == 4:
        axis = _channel_axis(found, path, channels)
        if values is not None and axis == 0:
            values = np.moveaxis(values, 0, -1)
        shape = shape[1:] if axis == 0 else shape[:3]
    elif channels is not None and len(shape) == 3:
        raise BenchError(
            f"{path} has shape {shape}, one volume, but --channels says {channels}. Leave it out, "
            "or take files with a fourth axis."
        )
    if len(shape) != 3 or 0 in shape:
        raise BenchError(
            f"{path} has shape {shape}; expected one volume of three axes. {_advice(found)}"
        )
    if found.affine is not None:
        steps = np.sqrt(np.square(found.affine[:3, :3]).sum(axis=0))
        if not np.isfinite(found.affine).all() or not (steps > 0).all():
            raise BenchError(f"{path} has no valid affine in its header. Write the file again.")
    return replace(found, shape=shape), values


def _channel_axis(found: Header, path: Path, channels: int) -> int:
    """Which of four axes holds the channels: the last, or the first of a `.npy`."""
    shape = found.shape
    axes = [axis for axis in (0, 3) if shape[axis] == channels and (axis or found.affine is None)]
    if len(axes) == 1:
        return axes[0]
    if axes:
        raise BenchError(
            f"{path} has shape {shape}: the first or the last axis may hold {channels} channels. "
            "Save it as NIfTI, whose channels are the last axis."
        )
    raise BenchError(f"{path} has shape {shape}, but --channels says {channels}. {_advice(found)}")


def _advice(found: Header) -> str:
    if len(found.shape) != 4 or 0 in found.shape:
        return "Save it as one."
    count = found.shape[3] if found.affine is not None else min(found.shape[0], found.shape[3])
    one = "Save one of them, or their mean, as a file of its own"
    if count > MOST_CHANNELS:
        said = f", {found.time}" if found.time else ""
        return f"It holds {count} time points{said}. {one}."
    said = f", as its header says ({found.time})" if found.time else ""
    return (
        f"If the {count} along its fourth axis are sequences of one examination, type --channels "
        f"{count}. If they are time points{said}: {one[0].lower()}{one[1:]}."
    )


def _refuse_unrelated(found: Sequence[Layer]) -> None:
    first = found[0]
    for layer in found[1:]:
        if (layer.header.affine is None) != (first.header.affine is None):
            raise BenchError(
                f"{first.path} and {layer.path} are channels of one volume, but only one of them "
                "says where it lies. Save both as NIfTI."
            )
        if layer.header.affine is None and layer.header.shape != first.header.shape:
            raise BenchError(
                f"{first.path} has shape {first.header.shape} and {layer.path} "
                f"{layer.header.shape}; arrays without a spacing must agree to be channels of one "
                "volume."
            )
