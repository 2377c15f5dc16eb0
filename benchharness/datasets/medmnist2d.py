"""The single-label sets of MedMNIST2D at 28², 64², 128² and 224², as volumes of depth 1.

Images become volumes `(C, 1, H, W)` with their one or three channels, so that a network made for
images is measured like one made for volumes.

RetinaMNIST's five grades are ordered. As in `medmnist.Evaluator`, the most probable grade counts
and the AUC is the mean over grades. ChestMNIST has 14 labels an image, so no single class is right
or wrong: `datasets.load` refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.datasets import medmnist

if TYPE_CHECKING:
    from benchharness.datasets.base import Modality

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
"""Suffixes of the names; none is 28."""

FACTORIES = medmnist.factories(SETS, SIZES, recipe="medmnist2d", power="²")
"""By name."""


def __getattr__(name: str) -> medmnist.Factory:
    if name in FACTORIES:
        return FACTORIES[name]
    raise AttributeError(name)
