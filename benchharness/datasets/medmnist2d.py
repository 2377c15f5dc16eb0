"""The single-label sets of MedMNIST2D at 28², 64², 128² and 224², as volumes of depth 1.

Yang et al., "MedMNIST v2", Scientific Data 10, 41 (2023); the larger sizes are MedMNIST+. Images
become volumes `(C, 1, H, W)` with the one or three channels that they have, so that whatever takes
volumes takes them: a network that was made for images is measured like one that was made for
volumes. Addresses, checksums and class names come from the `medmnist` package, as in `medmnist3d`.

RetinaMNIST's five grades are ordered; as in `medmnist.Evaluator` the most probable grade counts,
and the AUC is the mean over grades. ChestMNIST is multi-label, 14 findings an image, so that there
is no one class to be right or wrong about: `datasets.load` refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.datasets import medmnist3d

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.datasets.base import Dataset, Modality

SETS: dict[str, tuple[Modality, str]] = {
    "pathmnist": ("microscopy", "Histology of colorectal tissue, colour"),
    "dermamnist": ("photograph", "Pigmented skin lesions under the dermatoscope, colour"),
    "octmnist": ("optical coherence tomography", "Retinal optical coherence tomography"),
    "pneumoniamnist": ("x-ray", "Chest radiographs of children: normal or pneumonia"),
    "retinamnist": ("photograph", "Fundus photographs: grades of diabetic retinopathy, colour"),
    "breastmnist": ("ultrasound", "Breast ultrasound: malignant or not"),
    "bloodmnist": ("microscopy", "Single blood cells under the microscope, colour"),
    "tissuemnist": ("microscopy", "Kidney cortex cells under the fluorescence microscope"),
    "organamnist": ("ct", "Organs in axial slices of abdominal CT"),
    "organcmnist": ("ct", "Organs in coronal slices of abdominal CT"),
    "organsmnist": ("ct", "Organs in sagittal slices of abdominal CT"),
}
"""Modality and content of each set."""

SIZES = ("", "_64", "_128", "_224")
"""Suffixes of names; none is 28."""


def _factories() -> dict[str, Callable[[Path | None], Dataset]]:
    return {
        f"{flag}{suffix}": medmnist3d.factory(
            flag,
            suffix,
            modality=modality,
            recipe="medmnist2d",
            summary=f"{content}, {suffix[1:] or 28}².",
        )
        for flag, (modality, content) in SETS.items()
        for suffix in SIZES
    }


FACTORIES = _factories()
"""By name, each downloading its archive when absent."""


def __getattr__(name: str) -> Callable[[Path | None], Dataset]:
    if name in FACTORIES:
        return FACTORIES[name]
    raise AttributeError(name)
