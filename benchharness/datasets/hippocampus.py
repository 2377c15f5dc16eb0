"""Parts of the hippocampus in MRI: three volumes a patient from the Medical Segmentation Decathlon.

Task 4 of Simpson et al., arXiv 1902.09063, and Antonelli et al., "The Medical Segmentation
Decathlon", Nature Communications 13, 4128 (2022); CC BY-SA 4.0. The task is ours: from a cube of
20 mm, tell the head of the hippocampus, its body and tail, and a place with least of either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.canonical import pairs, sha256
from benchharness.datasets import files, prepared
from benchharness.datasets.base import SPLITS
from benchharness.datasets.grids import Fit
from benchharness.datasets.intensities import windowed
from benchharness.datasets.items import Item, Listing
from benchharness.datasets.medmnist import data_root
from benchharness.datasets.parallel import flowing
from benchharness.datasets.preparation import Window
from benchharness.datasets.reading import Made, layers, quantised, readable
from benchharness.datasets.resampling import onto, place
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.canonical import Value
    from benchharness.datasets.base import Dataset, Spacing, SplitName
    from benchharness.datasets.reading import Layer

    Floats = NDArray[np.float64]

NAME = "hippocampus3d"
FOLDER = "Task04_Hippocampus"
"""Of the unpacked archive, under the data root."""
CLASSES = ("head", "body_tail", "neither")
"""The first two are labels 1 and 2 of the masks: anterior and posterior."""

_VERSION = 1
"""Raised when the same files start to give other volumes."""
_CUBE = 20.0
"""Edge in mm."""
_SIZE = (28, 28, 28)
_SPACING: Spacing = (_CUBE / 28, _CUBE / 28, _CUBE / 28)
_WINDOW = Window(kind="percentiles", low=0.5, high=99.5)
_SHARES: tuple[tuple[SplitName, float], ...] = (("train", 0.5), ("val", 0.6), ("test", 1.0))
"""Up to which share of all hashes a patient's lies in a split."""
_ADDRESS = "http://medicaldecathlon.com"


def hippocampus3d(root: Path | None = None) -> Dataset:
    """Head, body and tail, or neither, of the hippocampus in MRI, 28³, three volumes a patient."""
    folder = data_root(root) / FOLDER
    found, remarks = _listing(folder)
    how = prepared.Making(
        options=_options,
        fit=lambda _: Fit(spacing=_SPACING, physical=True, driver=None),
        volumes=_volumes,
        stated=_SPACING,
        shape=(1, *_SIZE),
        bits=16,
        shared=True,
    )
    made = prepared.load(found, how)
    described = pairs({"version": _VERSION, "window": str(_WINDOW), "cube_mm": _CUBE, "bits": 16})
    return files.dataset(found, made, modality="mri", described=described, remarks=remarks)


def _options(spacing: Spacing) -> dict[str, Value]:
    return {
        "dataset": NAME,
        "version": _VERSION,
        "size": _SIZE,
        "spacing": spacing,
        "window": (_WINDOW.kind, _WINDOW.low, _WINDOW.high),
        "cube": _CUBE,
        "bits": 16,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named(Listing):
    """A listing whose name is not its folder's."""

    @property
    def name(self) -> str:
        """The dataset's."""
        return NAME


def _listing(folder: Path) -> tuple[Listing, tuple[str, ...]]:
    """Three volumes of every patient who has an image and a mask, and what is missing."""
    images, masks = (_nifti(folder / name) for name in ("imagesTr", "labelsTr"))
    patients = sorted(images.keys() & masks.keys())
    if not patients:
        raise BenchError(
            f"{NAME} needs {folder}/imagesTr and labelsTr. Fetch {FOLDER}.tar from {_ADDRESS}, "
            f"unpack it into {folder.parent}, or name the folder that holds it with --data-root or "
            "BENCH_DATA_ROOT."
        )
    items = [
        Item(
            paths=(images[patient], masks[patient]),
            name=name,
            split=_split(patient),
            label=label,
            patient=patient,
        )
        for patient in patients
        for label, name in enumerate(CLASSES)
    ]
    items.sort(key=lambda item: (SPLITS.index(item.split), item.patient, item.label))
    found = _Named(source=folder, classes=CLASSES, items=tuple(items))
    for split, _ in _SHARES:
        if not found.of(split):
            raise BenchError(
                f"{folder} has {len(patients)} patients and none of them in the {split} split. "
                f"Unpack the whole of {FOLDER}.tar."
            )
    return found, _absent(folder, images.keys() ^ masks.keys(), len(patients))


def _nifti(folder: Path) -> dict[str, Path]:
    """Volumes by patient; the files that macOS leaves beside them begin with a dot."""
    found = sorted(folder.glob("*.nii.gz")) if folder.is_dir() else []
    return {p.name.removesuffix(".nii.gz"): p for p in found if not p.name.startswith(".")}


def _absent(folder: Path, halves: set[str], count: int) -> tuple[str, ...]:
    """What the archive's own list has and the folder has not, a line each."""
    lines = [f"{name} has an image or a mask only and is left out." for name in sorted(halves)]
    try:
        listed = json.loads((folder / "dataset.json").read_text("utf-8"))["numTraining"]
        missing = int(listed) - count
    except (OSError, ValueError, KeyError, TypeError):
        missing = 0
    if missing > 0:
        lines.append(f"{missing} of the {count + missing} cases of dataset.json are not here.")
    return tuple(lines)


def _split(patient: str) -> SplitName:
    share = randomness.seed_of(NAME, "split", patient) / 2**63
    return next(split for split, end in _SHARES if share < end)


def _volumes(found: Listing, spacing: Spacing) -> Iterator[Made]:
    """The volumes in the listing's order; a patient's files are read once for all three."""
    by_patient = [
        tuple(items) for _, items in groupby(found.items, key=lambda item: (item.split, item.paths))
    ]
    made = flowing(by_patient, lambda items: _cut(items, spacing), "preparing volumes")
    return (one for several in made for one in several)


def _cut(items: Sequence[Item], spacing: Spacing) -> list[Made]:
    """The volumes of one patient."""
    image_path, mask_path = items[0].paths
    image, mask = layers(items[0].paths)
    with readable(mask_path):
        _refuse_other_mask(image, mask)
    with readable(image_path):
        scaled = windowed(image.values, _WINDOW, image_path)
        shape, affine = image.header.shape, image.header.affine
        assert affine is not None
        steps = np.sqrt(np.square(affine[:3, :3]).sum(axis=0))
        room = _CUBE / steps
        if (np.asarray(shape) < room).any():
            raise BenchError(
                f"{image_path} is smaller than a cube of {_CUBE:g} mm. Replace the file or take "
                "it out of the dataset."
            )
        made = []
        for item in items:
            centre = _centre(CLASSES[item.label], mask, room, str(item.patient))
            world = affine[:3, :3] @ centre + affine[:3, 3]
            target = place(shape, affine, _SIZE, spacing, world)
            volume = quantised(onto(scaled, affine, target, _SIZE)[None], 16)
            made.append(Made(volume=volume, content=(sha256(volume.tobytes()),)))
    return made


def _refuse_other_mask(image: Layer, mask: Layer) -> None:
    same = image.header.shape == mask.header.shape
    if not same or not np.allclose(image.header.affine, mask.header.affine, atol=1e-3):  # type: ignore[arg-type]
        raise BenchError(
            f"{mask.path} lies elsewhere than {image.path}. Unpack {FOLDER}.tar again."
        )
    for label, name in enumerate(CLASSES[:2], start=1):
        if not (mask.values == label).any():
            raise BenchError(
                f"{mask.path} has no voxel of label {label} ({name}). Unpack {FOLDER}.tar again."
            )


def _centre(name: str, mask: Layer, room: Floats, patient: str) -> Floats:
    """The centre of a cube that lies wholly inside the volume, in voxels.

    Args:
        name: One of `CLASSES`.
        mask: Of the hippocampus.
        room: Edge of the cube in voxels, along each axis.
        patient: Names the draw that breaks ties.
    """
    if name == "neither":
        return _emptiest(mask.values > 0, room, patient)
    wanted = np.argwhere(mask.values == 1 + CLASSES.index(name)).mean(axis=0)
    # Voxels are cubes about their centres: the volume reaches from -1/2 to n - 1/2.
    low, high = room / 2 - 0.5, np.asarray(mask.values.shape) - 0.5 - room / 2
    nearest: Floats = np.clip(wanted, low, high)
    return nearest


def _emptiest(inside: NDArray[np.bool_], room: Floats, patient: str) -> Floats:
    """The centre of a cube on whole voxels with the fewest voxels of the hippocampus."""
    edge = np.ceil(room - 1e-6).astype(int)
    sums = np.pad(inside.astype(np.int64), [(1, 0)] * 3).cumsum(0).cumsum(1).cumsum(2)
    for axis, side in enumerate(edge.tolist()):
        ahead = np.take(sums, range(side, sums.shape[axis]), axis)
        sums = ahead - np.take(sums, range(sums.shape[axis] - side), axis)
    ties = np.argwhere(sums == sums.min())
    chosen = randomness.numpy_generator(NAME, "neither", patient).integers(len(ties))
    centre: Floats = ties[int(chosen)] + (edge - 1) / 2
    return centre
