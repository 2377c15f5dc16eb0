"""The six sets of MedMNIST3D at 28³ and 64³."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.datasets import medmnist

if TYPE_CHECKING:
    from benchharness.datasets.base import Modality

SETS: dict[str, tuple[Modality, str]] = {
    "organmnist3d": ("ct", "Organs in abdominal CT"),
    "nodulemnist3d": ("ct", "Lung nodules in chest CT: benign or malignant"),
    "fracturemnist3d": ("ct", "Rib fractures in chest CT: buckle, nondisplaced or displaced"),
    "adrenalmnist3d": ("shape", "Masks of adrenal glands from abdominal CT: normal or hyperplasia"),
    "vesselmnist3d": ("shape", "Masks of brain vessels from MRA: healthy or aneurysm"),
    "synapsemnist3d": (
        "electron microscopy",
        "Synapses under the electron microscope: inhibitory or excitatory",
    ),
}
"""Modality and content of each set; in a mask every voxel is 0 or 255."""

SIZES = ("", "_64")
"""Suffixes of the names; none is 28."""

FACTORIES = medmnist.factories(SETS, SIZES, recipe="medmnist", power="³")
"""By name."""


def __getattr__(name: str) -> medmnist.Factory:
    if name in FACTORIES:
        return FACTORIES[name]
    raise AttributeError(name)
