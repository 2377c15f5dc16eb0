"""NIfTI volumes, in one file (`.nii`, `.nii.gz`) or two (`.hdr` and `.img`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.datasets.formats.header import Header, verify_gzip
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets.formats.header import Voxels, Wanted

_SPACE = {1: ("metre", 1000.0), 3: ("micron", 0.001)}
"""Units of `xyzt_units` other than millimetres, and how many millimetres they are."""
_TIME = {8: "s", 16: "ms", 24: "µs"}
"""Units of `xyzt_units` for the fourth axis."""


def read(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read a volume; the fourth axis of the voxels holds channels or time points.

    Raises:
        BenchError: When the voxels are colours or no numbers, when the header does not say its
            spacing, or when it is an ANALYZE header, which does not tell left from right.
    """
    import nibabel

    if wanted == "float32" and path.name.lower().endswith(".gz"):
        with path.open("rb") as stream:
            verify_gzip(stream)
    image: Any = nibabel.load(path, mmap=False)
    _refuse_unusable(image, path)
    shape = _without_lone_axes(tuple(int(n) for n in image.shape))
    if len(shape) in (3, 4):
        _refuse_unknown_steps(image, path)
    affine = np.asarray(image.affine, np.float64)
    units = int(image.header["xyzt_units"])
    unit, factor = _SPACE.get(units & 7, ("", 1.0))
    found = Header(
        shape=shape,
        affine=affine if factor == 1 else np.diag([factor, factor, factor, 1.0]) @ affine,
        units=(unit,) if unit else (),
        time=_time(image, units) if len(shape) == 4 else "",
    )
    if wanted == "none" or len(shape) not in (3, 4):
        return found, None
    if wanted == "exact":
        return found, np.asanyarray(image.dataobj).reshape(shape)
    return found, image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape)


def _without_lone_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of one beyond the third; (X, Y, Z, 1, C) is a vector in each voxel."""
    return shape[:3] + tuple(n for n in shape[3:] if n != 1)


def _refuse_unusable(image: Any, path: Path) -> None:
    import nibabel

    if not isinstance(image, nibabel.Nifti1Pair):
        raise BenchError(
            f"{path} is an ANALYZE header, which does not say which side is left. Convert it to "
            "NIfTI, and compare the sides with a scan that you know."
        )
    kind: Any = image.get_data_dtype()  # type: ignore[no-untyped-call]
    if kind.names:
        raise BenchError(
            f"{path} is in colour ({', '.join(kind.names)}); expected one grey value a voxel. Save "
            "the scan itself rather than a picture of it."
        )
    if kind.kind not in "biuf":
        raise BenchError(f"{path} holds {kind} voxels; expected one number a voxel.")


def _time(image: Any, units: int) -> str:
    unit, step = _TIME.get(units & 56), float(image.header["pixdim"][4])
    return f"one every {step:g} {unit}" if unit and np.isfinite(step) and step > 0 else ""


def _refuse_unknown_steps(image: Any, path: Path) -> None:
    """Refuse a step of 0 where steps come from pixdim; nibabel would take 1 for it."""
    from nibabel.openers import ImageOpener

    if int(image.header["sform_code"]) > 0:
        return
    header = path.with_name(f"{path.stem}.hdr") if path.suffix.lower() == ".img" else path
    with ImageOpener(str(header)) as stream:
        steps = type(image.header).from_fileobj(stream, check=False)["pixdim"][1:4]
    if not np.isfinite(steps).all() or (steps == 0).any():
        text = ", ".join(f"{step:g}" for step in steps.tolist())
        raise BenchError(
            f"{path} does not say its spacing: pixdim is {text} and it has no sform. Write the "
            "spacing in mm into its header."
        )
