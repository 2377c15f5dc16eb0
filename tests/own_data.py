"""Folders and CSVs of volumes with different spacings and orientations, as people have them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    ornt_transform,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ORIENTATIONS = ("RAS", "LPS", "SPR", "AIL", "PIR", "LSA")
SPACINGS = ((1.0, 1.0, 1.0), (2.0, 1.0, 1.5), (1.0, 1.0, 3.0), (1.2, 0.8, 2.0))
FIELD = 24.0
"""Edge of every field of view in mm."""
COUNTS = {"train": 18, "val": 8, "test": 12}
"""Volumes of each of two classes: 76 together."""


def scene(
    spacing: Sequence[float], centre: Sequence[float] = (4, -3, 5), contrast: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A blurred ball in RAS+ millimetres about the origin, sampled (X, Y, Z), and its affine."""
    steps = np.asarray(spacing)
    shape = np.round(FIELD / steps).astype(int)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -(shape - 1) / 2 * steps
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = places @ affine[:3, :3] + affine[:3, 3]
    distance = np.square(world - np.asarray(centre)).sum(axis=-1)
    return (100 + 300 * contrast * np.exp(-distance / 40)).astype(np.float32), affine


def write_nifti(
    path: Path, values: NDArray[np.float32], affine: NDArray[np.float64], orientation: str = "RAS"
) -> Path:
    """Write an RAS+ volume with its voxels stored in another orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(orientation))
    stored = apply_orientation(values, change)
    image = nibabel.Nifti1Image(stored, affine @ inv_ornt_aff(change, values.shape))
    image.to_filename(path)
    return path


def write_folder(folder: Path, counts: dict[str, int] | None = None) -> Path:
    """Write train|val|test/<class>/* of NIfTI files: balls that are bright or faint."""
    draws = np.random.Generator(np.random.PCG64(5))
    number = 0
    for split, count in (counts or COUNTS).items():
        for name, contrast in (("bright", 1.0), ("faint", 0.1)):
            for index in range(count):
                spacing = SPACINGS[number % len(SPACINGS)]
                values, affine = scene(spacing, draws.uniform(-5, 5, 3), contrast)
                values += draws.normal(0, 8, values.shape).astype(np.float32)
                code = ORIENTATIONS[number % len(ORIENTATIONS)]
                suffix = ".nii.gz" if number % 5 else ".nii"
                write_nifti(folder / split / name / f"{index:02}{suffix}", values, affine, code)
                number += 1
    return folder


def write_table(folder: Path, rows: Sequence[Sequence[object]], header: str = "") -> Path:
    """Write a CSV of rows; its header is path, label, split and patient unless given."""
    path = folder / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow((header or "path,label,split,patient").split(","))
        writer.writerows(rows)
    return path
