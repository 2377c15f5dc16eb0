"""DICOM series as scanners write them: a file a slice, made by SimpleITK from a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CT = "1.2.840.10008.5.1.4.1.1.2"


def text(numbers: NDArray[np.float64] | list[float]) -> str:
    """Numbers as DICOM writes them."""
    return "\\".join(f"{number:.6g}" for number in numbers)


def write_series(
    folder: Path,
    values: NDArray[np.generic],
    affine: NDArray[np.float64],
    *,
    tags: Mapping[str, str] | None = None,
    series: str = "1.2.3.4",
    order: Callable[[int], int] = lambda index: index,
) -> Path:
    """Write a volume (X, Y, Z), with its affine to RAS+ mm, as slices along its last axis.

    Args:
        folder: Where.
        values: Intensities after slope and intercept.
        affine: From voxel indices.
        tags: Further ones of every slice.
        series: UID of the series; names of files begin with it.
        order: From a slice's index to the number in its file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    steps = np.sqrt(np.square(lps[:3, :2]).sum(axis=0))
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(values.shape[2]):
        image = SimpleITK.GetImageFromArray(values[:, :, index].T)
        image.SetSpacing(steps.tolist())
        said = {
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0008|0016": CT,
            "0008|0018": f"{series}.{index + 1}",
            "0008|0060": "CT",
            "0010|0020": "P",
            "0018|0050": "2.5",
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0032": text(lps[:3, 3] + lps[:3, 2] * index),
            "0020|0037": text(np.concatenate([lps[:3, 0] / steps[0], lps[:3, 1] / steps[1]])),
            **(tags or {}),
        }
        for key, value in said.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{series}-{order(index):03}.dcm"))
        writer.Execute(image)
    return folder
