"""Volumes in NumPy's `.npy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.datasets.formats.header import Header
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets.formats.header import Voxels, Wanted


def read(path: Path, wanted: Wanted) -> tuple[Header, Voxels | None]:
    """Read an array, which has no affine.

    Raises:
        BenchError: When its elements are no numbers.
    """
    # Mapped for the header only: a process dies that reads voxels from a map of a shortened file.
    values = np.load(path, mmap_mode="r" if wanted == "none" else None, allow_pickle=False)
    if values.dtype.kind not in "biuf":
        raise BenchError(f"{path} holds {values.dtype} voxels; expected one number a voxel.")
    found = Header(shape=values.shape, affine=None)
    if wanted == "none":
        return found, None
    return found, np.asarray(values, None if wanted == "exact" else np.float32)
