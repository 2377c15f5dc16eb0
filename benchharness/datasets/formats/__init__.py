"""What lies in a volume's files: its grid in millimetres and its voxels.

A volume is a file (NIfTI, NRRD, MetaImage, `.npy`), a header beside a file of voxels, or a folder
that holds the slices of one DICOM series. A compressed stream is read to its end, so that its
checksum and its length are verified.
"""

from __future__ import annotations

import locale
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from benchharness.datasets.formats import arrays, dicom, itk, nifti
from benchharness.datasets.formats.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.datasets.formats.header import Voxels, Wanted

__all__ = ["KNOWN", "SUFFIXES", "Header", "files", "is_series", "is_slice", "is_volume", "read"]

_READERS = {
    ".nii": nifti.read,
    ".hdr": nifti.read,
    ".img": nifti.read,
    ".nrrd": itk.read,
    ".nhdr": itk.read,
    ".mha": itk.read,
    ".mhd": itk.read,
    ".npy": arrays.read,
}
SUFFIXES = (*_READERS, ".nii.gz")
"""Of files that hold a volume or its header; case does not matter."""
KNOWN = (
    "NIfTI (.nii, .nii.gz, .hdr with .img), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or NumPy "
    "(.npy)"
)
"""The same for a message."""

is_series, is_slice = dicom.is_series, dicom.is_slice


def is_volume(name: str) -> bool:
    """Whether a file of this name holds a volume or its header."""
    return name.lower().endswith(SUFFIXES)


def files(path: Path) -> tuple[Path, ...]:
    """All files of a volume: what a digest must cover.

    Raises:
        BenchError: When a header names voxels that lie elsewhere; other damage may raise anything.
    """
    if path.is_dir():
        with _locale_kept():
            return dicom.files(path)
    suffix = path.suffix.lower()
    if suffix in (".hdr", ".img"):
        other = {".hdr": ".img", ".img": ".hdr"}[suffix]
        twin = path.with_suffix(other.upper() if path.suffix.isupper() else other)
        return tuple(sorted((path, twin)))
    return itk.files(path) if suffix in (".nhdr", ".mhd") else (path,)


def read(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read a volume's grid and maybe its voxels: (X, Y, Z) or (X, Y, Z, C), a `.npy` as it is.

    The voxels are None if not wanted, or neither of three axes nor of four. Parsers may raise
    anything for damaged bytes.

    Raises:
        BenchError: When the file is whole but says what cannot be used.
    """
    with _locale_kept():
        if path.is_dir():
            return dicom.read(path, wanted)
        return _READERS[PurePath(path.name.lower().removesuffix(".gz")).suffix](path, wanted)


@contextmanager
def _locale_kept() -> Iterator[None]:
    """Undo what ITK's readers of DICOM do to the locale, and so to how text files are decoded."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        if locale.setlocale(locale.LC_ALL) != before:
            locale.setlocale(locale.LC_ALL, before)
