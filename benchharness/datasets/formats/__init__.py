"""What lies in a file: its grid in millimetres and its voxels, from NIfTI, NRRD or `.npy`.

A compressed stream is read to its end, so that its checksum and its length are verified.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Voxels = NDArray[np.generic]

Wanted = Literal["none", "float32", "exact"]
"""What to read of the voxels; exact leaves numbers that float32 would round as they are stored."""

_NIFTI_UNITS = {1: ("metre", 1000.0), 3: ("micron", 0.001)}
_UNITS = {
    "mm": 1.0,
    "m": 1000.0,
    "cm": 10.0,
    "um": 1e-3,
    "nm": 1e-6,
}
_UNIT_NAMES = {
    "millimet": "mm",
    "met": "m",
    "centimet": "cm",
    "micromet": "um",
    "nanomet": "nm",
}
_UNSTATED = ("", "unknown", "none", "???")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """The grid of a file, with its axes as stored."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64] | None
    """From voxel indices to RAS+ millimetres, (4, 4); None where the format has none."""
    units: tuple[str, ...] = ()
    """Units other than millimetres that the file states; the affine is converted already."""

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


def read(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read a file's grid and maybe its voxels, (X, Y, Z), or (D, H, W) of a `.npy`.

    The voxels are None if not wanted or not of three axes. Parsers may raise anything for damaged
    bytes.

    Raises:
        BenchError: When the file is whole but says what cannot be used.
    """
    return _READERS[PurePath(path.name.lower().removesuffix(".gz")).suffix](path, wanted)


def _verify(stream: IO[bytes]) -> None:
    """Read a gzip stream to its end; gzip then compares checksum and length of all members."""
    with gzip.GzipFile(fileobj=stream) as content:
        while content.read(_BLOCK):
            pass


def _nifti(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    import nibabel

    if wanted == "float32" and path.name.lower().endswith(".gz"):
        with path.open("rb") as stream:
            _verify(stream)
    image: Any = nibabel.load(path, mmap=False)
    kind = image.get_data_dtype()
    if kind.kind not in "biuf":
        raise BenchError(f"{path} holds {kind} voxels; expected one number a voxel.")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 3:
        _refuse_unknown_steps(image, path)
    affine = np.asarray(image.affine, np.float64)
    unit, factor = _NIFTI_UNITS.get(int(image.header["xyzt_units"]) & 7, ("", 1.0))
    found = Header(
        shape=shape,  # type: ignore[arg-type]
        affine=affine if factor == 1 else np.diag([factor, factor, factor, 1.0]) @ affine,
        units=(unit,) if unit else (),
    )
    if wanted == "none" or len(shape) != 3:
        return found, None
    if wanted == "exact":
        return found, np.asanyarray(image.dataobj).reshape(shape)
    return found, image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape)


def _refuse_unknown_steps(image: Any, path: Path) -> None:
    """Refuse a step of 0 where steps come from pixdim; nibabel would take 1 for it."""
    from nibabel.openers import ImageOpener

    if int(image.header["sform_code"]) > 0:
        return
    with ImageOpener(str(path)) as stream:
        steps = type(image.header).from_fileobj(stream, check=False)["pixdim"][1:4]
    if not np.isfinite(steps).all() or (steps == 0).any():
        text = ", ".join(f"{step:g}" for step in steps.tolist())
        raise BenchError(
            f"{path} does not say its spacing: pixdim is {text} and it has no sform. Write the "
            "spacing in mm into its header."
        )


def _nrrd(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    import SimpleITK

    fields = _nrrd_fields(path, verify=wanted == "float32")
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
    affine, units = _in_millimetres(affine, fields, path)
    # ITK's axes point to left and posterior, ours to right and anterior.
    found = Header(shape=shape, affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, units=units)
    if wanted == "none":
        return found, None
    values = SimpleITK.GetArrayFromImage(reader.Execute()).transpose(2, 1, 0)
    return found, values if wanted == "exact" else values.astype(np.float32)


def _nrrd_fields(path: Path, *, verify: bool) -> dict[str, str]:
    """The fields of an NRRD's header; voxels in another file, which no digest covers, are refused.

    Args:
        path: The file.
        verify: Whether to read a gzip stream of voxels to its end.
    """
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        while (line := stream.readline()).strip():
            name, mark, value = line.decode("utf-8", "replace").partition(":")
            if mark and not line.startswith(b"#") and not value.startswith("="):
                fields[name.strip().lower()] = value.strip()
        if "data file" in fields or "datafile" in fields:
            raise BenchError(
                f"{path} keeps its voxels in another file. Save it as one .nrrd with its header "
                "attached."
            )
        if verify and fields.get("encoding", "").lower() in ("gzip", "gz"):
            for _ in range(int(fields.get("line skip", fields.get("lineskip", "0")))):
                stream.readline()
            _verify(stream)
    return fields


def _in_millimetres(
    affine: NDArray[np.float64], fields: dict[str, str], path: Path
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Convert an NRRD's affine: `space units` are those of the world, `units` of the axes."""
    world = [_unit(text, path) for text in _quoted(fields.get("space units", ""))]
    axes = [_unit(text, path) for text in _quoted(fields.get("units", ""))]
    chosen = world if len(world) == 3 else axes if len(axes) == 3 else ["mm"] * 3
    factors = np.asarray([_UNITS[unit] for unit in chosen])
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


def _numpy(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    # Mapped for the header only: a process dies that reads voxels from a map of a shortened file.
    values = np.load(path, mmap_mode="r" if wanted == "none" else None, allow_pickle=False)
    if values.dtype.kind not in "biuf":
        raise BenchError(f"{path} holds {values.dtype} voxels; expected one number a voxel.")
    found = Header(shape=values.shape, affine=None)
    if wanted == "none":
        return found, None
    return found, np.asarray(values, None if wanted == "exact" else np.float32)


_READERS = {".nii": _nifti, ".nrrd": _nrrd, ".npy": _numpy}
