"""DICOM: a folder that holds the slices of one series is a volume.

Where a slice lies is taken from its own Image Position and Image Orientation (Patient), so slices
may be shifted against each other, as those of a tilted gantry are. GDCM, through SimpleITK, applies
the slope and intercept of every slice.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.datasets.formats.header import LPS_TO_RAS, Header
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.formats.header import Affine, Voxels, Wanted

_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC, _PREAMBLE = b"DICM", 128
_INDEX = "DICOMDIR"
"""Lists the files of a disk; it holds no image."""
_SHOWN = 4
"""Series of a folder that a message names."""
_UNEVEN = 0.02
"""Of the distance of two slices: how far one may lie from its place. Headers round positions."""

_SERIES, _DESCRIPTION, _NUMBER = "0020|000e", "0008|103e", "0020|0011"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
_SPACING, _THICKNESS = "0028|0030", "0018|0050"
_SAMPLES, _FRAMES, _KIND, _CLASS = "0028|0002", "0028|0008", "0008|0008", "0008|0016"
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""SOP classes that begin so are secondary captures: pictures of a screen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slice:
    """What the header of a slice says."""

    path: Path
    tags: dict[str, str]
    shape: tuple[int, ...]

    def numbers(self, tag: str, count: int) -> NDArray[np.float64]:
        """The numbers of a tag.

        Raises:
            BenchError: When there are not so many finite ones.
        """
        text = self.tags.get(tag, "")
        try:
            found = np.asarray([float(part) for part in text.split("\\")])
        except ValueError:
            found = np.empty(0)
        if len(found) != count or not np.isfinite(found).all():
            raise BenchError(
                f"{self.path} does not say where its slice lies: {_NAMES[tag]} is {text!r}. Export "
                "the series again, with its geometry."
            )
        return found


_NAMES = {
    _POSITION: "Image Position (Patient)",
    _ORIENTATION: "Image Orientation (Patient)",
    _SPACING: "Pixel Spacing",
    _THICKNESS: "Slice Thickness",
}


def is_slice(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or else by its first bytes."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself; only its first file is looked at."""
    if not folder.is_dir():
        return False
    found = files(folder)
    return bool(found) and is_slice(found[0])


def files(folder: Path) -> tuple[Path, ...]:
    """The files of a series by name; hidden ones and a DICOMDIR are not among them."""
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.is_file() and not entry.name.startswith(".") and entry.name.upper() != _INDEX
        )
    return tuple(folder / name for name in names)


def read(folder: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read a series.

    Raises:
        BenchError: When the folder holds another file, several series, a localizer, a picture of a
            screen, colours or several frames a file, or when slices are missing, lie unevenly or
            at one place.
    """
    slices = [_opened(path) for path in files(folder)]
    _refuse_several(folder, slices)
    for one in slices:
        _refuse_unusable(one)
    _refuse_different(folder, slices)
    slices, affine = _placed(folder, slices)
    found = Header(shape=(*slices[0].shape[:2], len(slices)), affine=LPS_TO_RAS @ affine)
    if wanted == "none":
        return found, None
    values = np.stack([_pixels(one) for one in slices], axis=-1)
    return found, values if wanted == "exact" else values.astype(np.float32)


def _reader(path: Path) -> Any:
    import SimpleITK

    reader: Any = SimpleITK.ImageFileReader()  # type: ignore[no-untyped-call]
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _opened(path: Path) -> _Slice:
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BenchError(
            f"cannot read {path} as a DICOM image. A folder of slices holds nothing else: replace "
            "it, or move it elsewhere."
        ) from error
    tags = {key: reader.GetMetaData(key).strip("\0 ") for key in reader.GetMetaDataKeys()}
    return _Slice(path=path, tags=tags, shape=tuple(int(n) for n in reader.GetSize()))


def _pixels(one: _Slice) -> NDArray[Any]:
    """Intensities (X, Y), after slope and intercept."""
    import SimpleITK

    try:
        image = _reader(one.path).Execute()
    except RuntimeError as error:
        raise BenchError(
            f"cannot read slice {one.path}: its pixels are damaged or packed in a way that is not "
            "known. Export the series again, uncompressed."
        ) from error
    values: NDArray[Any] = SimpleITK.GetArrayFromImage(image)
    return values.reshape(values.shape[-2:]).T


def _refuse_several(folder: Path, slices: Sequence[_Slice]) -> None:
    if not slices:
        raise BenchError(f"{folder} holds no DICOM files. Put the slices of one series into it.")
    by_series: dict[str, list[_Slice]] = defaultdict(list)
    for one in slices:
        by_series[one.tags.get(_SERIES, "")].append(one)
    if len(by_series) > 1:
        names = [_series_name(found) for found in by_series.values()]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise BenchError(
            f"{folder} holds {len(by_series)} series: {', '.join(names[:_SHOWN])}{more}. Give each "
            "that you want a folder of its own."
        )


def _series_name(slices: Sequence[_Slice]) -> str:
    tags = slices[0].tags
    name = tags.get(_DESCRIPTION) or tags.get(_NUMBER) or tags.get(_SERIES) or "unnamed"
    count = f"{len(slices)} file" + ("s" if len(slices) > 1 else "")
    return f"{name!r} ({count}, such as {slices[0].path.name})"


def _refuse_unusable(one: _Slice) -> None:
    kind = one.tags.get(_KIND, "").upper().split("\\")
    if "LOCALIZER" in kind:
        raise BenchError(
            f"{one.path} is a localizer, an overview for planning. Take the series itself."
        )
    if one.tags.get(_CLASS, "").startswith(_CAPTURES):
        raise BenchError(
            f"{one.path} is a secondary capture, a picture of a screen, whose grey values are not "
            "measured. Take the original series."
        )
    if one.tags.get(_SAMPLES, "1") != "1":
        raise BenchError(
            f"{one.path} is in colour; expected one grey value a voxel. Take the original series."
        )
    if one.tags.get(_FRAMES, "1") not in ("", "1") or one.shape[2:] not in ((), (1,)):
        raise BenchError(
            f"{one.path} holds several frames in one file. Convert the series to NIfTI, with "
            "dcm2niix for example."
        )


def _refuse_different(folder: Path, slices: Sequence[_Slice]) -> None:
    first = slices[0]
    for one in slices:
        same = one.shape == first.shape and all(
            np.allclose(one.numbers(tag, count), first.numbers(tag, count), atol=1e-3)
            for tag, count in ((_ORIENTATION, 6), (_SPACING, 2))
        )
        if not same:
            raise BenchError(
                f"{folder}: {first.path.name} and {one.path.name} differ in size, spacing or "
                "orientation, so they are no slices of one volume. Give each stack a folder."
            )


def _placed(folder: Path, slices: list[_Slice]) -> tuple[list[_Slice], Affine]:
    """Slices in the order of their places, and the affine to LPS+ millimetres."""
    first = slices[0]
    orientation, spacing = first.numbers(_ORIENTATION, 6), first.numbers(_SPACING, 2)
    along_row, along_column = orientation[:3], orientation[3:]
    normal = np.cross(along_row, along_column)
    places = np.stack([one.numbers(_POSITION, 3) for one in slices])
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[int(index)] for index in order], places[order]
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing[1]
    affine[:3, 1] = along_column * spacing[0]
    if len(slices) == 1:
        affine[:3, 2] = normal * float(first.numbers(_THICKNESS, 1)[0])
    else:
        _refuse_gaps(folder, slices, places @ normal)
        affine[:3, 2] = (places[-1] - places[0]) / (len(slices) - 1)
        off = places - places[0] - np.arange(len(slices))[:, None] * affine[:3, 2]
        by_slice = np.abs(off).max(axis=1)
        worst = int(by_slice.argmax())
        if by_slice[worst] > _UNEVEN * float(normal @ affine[:3, 2]):
            raise BenchError(
                f"{folder}: {slices[worst].path.name} lies {by_slice[worst]:.3g} mm beside the "
                "line of the other slices. Export the series again."
            )
    affine[:3, 3] = places[0]
    return slices, affine


def _refuse_gaps(folder: Path, slices: Sequence[_Slice], heights: NDArray[np.float64]) -> None:
    steps = np.diff(heights)
    step = float(np.median(steps))
    same = np.flatnonzero(steps <= _UNEVEN * max(step, 1e-3))
    if len(same):
        place = int(same[0])
        raise BenchError(
            f"{folder}: {slices[place].path.name} and {slices[place + 1].path.name} lie at one "
            "place. Give each time point or echo a folder of its own, and list one of them."
        )
    worst = int(np.abs(steps - step).argmax())
    if abs(steps[worst] - step) > _UNEVEN * step:
        what = "slices are missing" if steps[worst] > 1.5 * step else "they lie unevenly"
        raise BenchError(
            f"{folder}: {slices[worst].path.name} and {slices[worst + 1].path.name} are "
            f"{steps[worst]:.4g} mm apart and most slices {step:.4g} mm: {what}. Export the series "
            "again, or resample it."
        )
