"""Volumes that ITK reads: NRRD (`.nrrd`, `.nhdr`) and MetaImage (`.mha`, `.mhd`)."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.datasets.formats.header import BLOCK, LPS_TO_RAS, Header, verify_gzip
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.datasets.formats.header import Affine, Voxels, Wanted

_UNITS = {"mm": 1.0, "m": 1000.0, "cm": 10.0, "um": 1e-3, "nm": 1e-6}
_UNIT_NAMES = {
    "millimet": "mm",
    "met": "m",
    "centimet": "cm",
    "micromet": "um",
    "nanomet": "nm",
}
_UNSTATED = ("", "unknown", "none", "???")
_META_BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4}
_META_BYTES |= {"long": 4, "ulong": 4, "long_long": 8, "ulong_long": 8, "double": 8}
_LONGEST = 1 << 16
"""Bytes of a header that are read to look for its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """A header in text, and where the voxels are."""

    values: dict[str, str]
    """By lower-case name."""
    length: int
    """Bytes to the first voxel of a file that holds both."""
    data: Path
    """The file of the voxels, which may be the header's own."""


def files(path: Path) -> tuple[Path, ...]:
    """The files of a volume: the header's, and that of the voxels where it is another.

    Raises:
        BenchError: When the voxels lie in several files or in another folder.
    """
    data = _fields(path).data
    return (path,) if data == path else (path, data)


def read(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read a volume; the fourth axis of the voxels holds channels or time points.

    Raises:
        BenchError: When the header does not say where the voxels are or in what unit they are
            spaced.
    """
    import SimpleITK

    fields = _fields(path)
    if wanted == "float32":
        _verify(fields, path)
    reader: Any = SimpleITK.ImageFileReader()  # type: ignore[no-untyped-call]
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    shape = tuple(int(n) for n in reader.GetSize())
    if reader.GetNumberOfComponents() > 1:
        shape = (*shape, int(reader.GetNumberOfComponents()))
    if len(shape) not in (3, 4) or reader.GetDimension() not in (3, 4):
        return Header(shape=shape, affine=np.eye(4)), None
    affine, units = _in_millimetres(_affine(reader), fields.values, path)
    found = Header(shape=shape, affine=LPS_TO_RAS @ affine, units=units)
    if wanted == "none":
        return found, None
    values = SimpleITK.GetArrayFromImage(reader.Execute())
    # ITK gives (Z, Y, X) or (Z, Y, X, C), and (C, Z, Y, X) of four axes.
    values = np.moveaxis(values, -1, 0).T if reader.GetNumberOfComponents() > 1 else values.T
    return found, values if wanted == "exact" else values.astype(np.float32)


def _affine(reader: Any) -> Affine:
    """From voxel indices to ITK's LPS+ coordinates; a fourth axis is left out."""
    count = reader.GetDimension()
    affine = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (count, count))[:3, :3]
    affine[:3, :3] = direction * np.asarray(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    return affine


def _is_meta(path: Path) -> bool:
    return path.suffix.lower() in (".mha", ".mhd")


def _fields(path: Path) -> _Fields:
    return _meta_fields(path) if _is_meta(path) else _nrrd_fields(path)


def _nrrd_fields(path: Path) -> _Fields:
    values: dict[str, str] = {}
    with path.open("rb") as stream:
        while (line := stream.readline(_LONGEST)).strip():
            name, mark, value = line.decode("utf-8", "replace").partition(":")
            if mark and not line.startswith(b"#") and not value.startswith("="):
                values[name.strip().lower()] = value.strip()
        length = stream.tell()
    data = values.get("data file", values.get("datafile", ""))
    if data and path.suffix.lower() == ".nrrd":
        raise BenchError(
            f"{path} keeps its voxels in another file ({data}). Call it .nhdr, or save it as one "
            ".nrrd with its header attached."
        )
    return _Fields(values=values, length=length, data=_beside(path, data) if data else path)


def _meta_fields(path: Path) -> _Fields:
    values: dict[str, str] = {}
    with path.open("rb") as stream:
        while line := stream.readline(_LONGEST):
            name, mark, value = line.decode("utf-8", "replace").partition("=")
            if not mark or stream.tell() > _LONGEST:
                raise ValueError("it has no line ElementDataFile")
            values[name.strip().lower()] = value.strip()
            if name.strip().lower() == "elementdatafile":
                break
        length = stream.tell()
    data = values.get("elementdatafile", "")
    if not data:
        raise ValueError("it has no line ElementDataFile")
    return _Fields(
        values=values, length=length, data=path if data == "LOCAL" else _beside(path, data)
    )


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names."""
    if name.upper() == "LIST" or name.startswith("LIST ") or "%" in name:
        raise BenchError(
            f"{path} keeps its voxels in several files ({name}). Save them as one file."
        )
    if PurePath(name).name != name or "\\" in name or name in (".", ".."):
        raise BenchError(
            f"{path} keeps its voxels in {name!r}, in another folder. Put the two files side by "
            "side, and write the plain name into the header."
        )
    return path.with_name(name)


def _verify(fields: _Fields, path: Path) -> None:
    """Read compressed voxels to their end, and hold the length of a MetaImage against its header.

    Raises:
        Exception: Of whatever kind, when a checksum or a length is wrong.
    """
    values = fields.values
    with fields.data.open("rb") as stream:
        stream.seek(fields.length if fields.data == path else 0)
        if _is_meta(path):
            _verify_meta(stream, values)
        elif values.get("encoding", "").lower() in ("gzip", "gz"):
            for _ in range(int(values.get("line skip", values.get("lineskip", "0")))):
                stream.readline()
            verify_gzip(stream)


def _verify_meta(stream: Any, values: dict[str, str]) -> None:
    if not {"elementspacing", "elementsize"} & values.keys():
        raise ValueError("it does not say its spacing (ElementSpacing)")
    kind = values.get("elementtype", "").upper().removeprefix("MET_").removesuffix("_ARRAY").lower()
    sizes = [int(text) for text in values.get("dimsize", "").split()]
    wanted = math.prod(sizes) * int(values.get("elementnumberofchannels", "1"))
    wanted *= _META_BYTES.get(kind, 0)
    if wanted == 0:
        raise ValueError(f"its voxels are {kind or 'of no type'}")
    if values.get("binarydata", "true").lower() == "false":
        return
    found, unpacked = 0, zlib.decompressobj()
    packed = values.get("compresseddata", "false").lower() == "true"
    while block := stream.read(BLOCK):
        found += len(unpacked.decompress(block)) if packed else len(block)
    if found < wanted or (packed and not unpacked.eof):
        raise ValueError(f"it holds {found} of {wanted} bytes of voxels")


def _in_millimetres(
    affine: Affine, fields: dict[str, str], path: Path
) -> tuple[Affine, tuple[str, ...]]:
    """Convert an NRRD's affine: `space units` are those of the world, `units` of the axes."""
    world = [_unit(text, path) for text in _quoted(fields.get("space units", ""))]
    axes = [_unit(text, path) for text in _quoted(fields.get("units", ""))]
    chosen = world if len(world) == 3 else axes if len(axes) == 3 else ["mm"] * 3
    factors: NDArray[np.float64] = np.asarray([_UNITS[unit] for unit in chosen])
    if (factors == 1).all():
        return affine, ()
    converted = affine.copy()
    if len(world) == 3:
        converted[:3] *= factors[:, None]
    else:
        converted[:3, :3] *= factors
        if (factors == factors[0]).all():
            converted[:3, 3] *= factors[0]
    return converted, tuple(chosen)


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text) or text.split()


def _unit(text: str, path: Path) -> str:
    """The symbol of a unit of length by its symbol or name; what is not stated counts as mm."""
    name = text.strip().replace("µ", "u").replace("μ", "u")
    if name.lower() in _UNSTATED:
        return "mm"
    if name in _UNITS or name.lower() in _UNITS:
        return name if name in _UNITS else name.lower()
    word = re.sub(r"(er|re)s?$", "", name.lower())
    if word in ("micron", "microns"):
        return "um"
    if word not in _UNIT_NAMES:
        raise BenchError(
            f"{path} states its spacing in {text!r}, which is not known. Write it in mm."
        )
    return _UNIT_NAMES[word]
