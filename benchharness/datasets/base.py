"""What a dataset is: three splits of uint8 or uint16 volumes with ids, labels and a digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from benchharness import randomness
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.canonical import Pairs

    Levels = NDArray[np.unsignedinteger[Any]]

Modality = Literal[
    "phantom",
    "mri",
    "ct",
    "shape",
    "electron microscopy",
    "x-ray",
    "ultrasound",
    "optical coherence tomography",
    "microscopy",
    "photograph",
    "unknown",
]
SplitName = Literal["train", "val", "test"]

SPLITS: tuple[SplitName, ...] = get_args(SplitName)

LARGEST_LABEL = 9999
"""What is larger is a mistake: each class takes an output of the network."""

Spacing = tuple[float, float, float]
"""Millimetres between voxels, (D, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Volumes of one split, held once in memory, or mapped, and never copied per epoch."""

    ids: tuple[str, ...]
    """One name for each volume, unique over all datasets: `adrenalmnist3d/test/17`."""
    volumes: Levels
    """Shape (N, C, D, H, W), uint8 or uint16, maybe read-only; a network sees them divided by 255
    or by 65535."""
    labels: NDArray[np.int64]
    """Shape (N,), 0..K−1."""
    masks: NDArray[np.bool_] | None = None
    """Shape (N, D, H, W): where the structure that decides the class is, if known."""
    patients: tuple[str, ...] | None = None
    """The patient of each volume, if known: volumes of one patient are not independent."""
    spacing: Spacing | None = None
    """The same for every volume; None where unknown."""
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else is known of each volume, such as site, sex, age or scanner: names, and a text a
    volume. No number depends on it."""

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, limit: int | None) -> Split:
        """Take only some volumes, stratified by class; the choice depends only on their ids.

        Every class keeps its share of the split to within one volume, and at least one volume
        where the limit allows. Within a class, the volumes with the smallest hash of their id are
        taken, so a smaller subset is part of a larger one wherever the shares allow it.

        Args:
            limit: How many volumes to take; the split itself for None or at least N.
        """
        if limit is None or limit >= len(self):
            return self
        classes, counts = np.unique(self.labels, return_counts=True)
        shares = _shares(counts, limit)
        chosen: list[int] = []
        for label, share in zip(classes, shares, strict=True):
            members = np.flatnonzero(self.labels == label).tolist()
            ranked = sorted(members, key=lambda index: randomness.seed_of("limit", self.ids[index]))
            chosen += ranked[: int(share)]
        return self.select(np.sort(np.asarray(chosen)))

    def select(self, places: NDArray[np.int64]) -> Split:
        """Take the volumes at the given places, in their order."""
        return Split(
            ids=tuple(self.ids[index] for index in places),
            volumes=self.volumes[places],
            labels=self.labels[places],
            masks=None if self.masks is None else self.masks[places],
            patients=None
            if self.patients is None
            else tuple(self.patients[index] for index in places),
            spacing=self.spacing,
            metadata=tuple(
                (name, tuple(values[index] for index in places)) for name, values in self.metadata
            ),
        )


def _shares(counts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Distribute `limit` over classes by largest remainder, each class getting one if possible."""
    floor = np.ones_like(counts) if limit >= len(counts) else np.zeros_like(counts)
    ideal = counts * (limit / counts.sum())
    shares: NDArray[np.int64] = np.maximum(np.floor(ideal).astype(np.int64), floor)
    while shares.sum() > limit:
        shares[np.argmax(np.where(shares > floor, shares - ideal, -np.inf))] -= 1
    while shares.sum() < limit:
        shares[np.argmax(np.where(shares < counts, ideal - shares, -np.inf))] += 1
    return shares


_CONSEQUENCES = {
    "train": "a network cannot learn what it never sees",
    "val": "the choice of weights does not see every class",
    "test": "metrics that need every class, such as the AUC, are undefined",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A dataset as every package of the harness sees it."""

    name: str
    classes: tuple[str, ...]
    """Class names, in the order of the labels."""
    modality: Modality
    """Decides which artefacts are plausible and whether the shape-set protocol applies."""
    digest: str
    """Digest of the data after its algorithm: `md5:…` (a file) or `sha256:…` (arrays)."""
    default_recipe: str
    """What `bench run` trains with unless told otherwise."""
    train: Split
    val: Split
    test: Split
    preparation: Pairs = ()
    """How volumes from files were put on their grid, for the reader; the digest covers it."""
    remarks: tuple[str, ...] = ()
    """What its reader found worth saying of the data, a line each."""
    label_space: str | None = None
    """Names what the labels mean, in their order: the labels of two datasets correspond exactly
    when both have the same. None corresponds to nothing, not even to another None."""

    def __post_init__(self) -> None:
        for name in SPLITS:
            split: Split = getattr(self, name)
            if len(split) == 0:
                raise BenchError(f"dataset {self.name!r} has no volumes in its {name} split.")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= len(self.classes):
                raise BenchError(
                    f"dataset {self.name!r} has labels {low}..{high} in its {name} split but "
                    f"{len(self.classes)} classes; labels must lie in 0..{len(self.classes) - 1}."
                )

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """Number of channels, C."""
        return int(self.test.volumes.shape[1])

    def corresponds(self, other: Dataset) -> bool:
        """Whether a label means the same in both datasets."""
        return self.label_space is not None and self.label_space == other.label_space

    @property
    def grid(self) -> tuple[int, int, int]:
        """Size of a volume, (D, H, W)."""
        depth, height, width = self.test.volumes.shape[2:]
        return int(depth), int(height), int(width)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know of the data, a line each."""
        found = [f"{self.name}: {remark}" for remark in self.remarks]
        for name in SPLITS:
            split: Split = getattr(self, name)
            present = set(np.unique(split.labels).tolist())
            absent = [text for label, text in enumerate(self.classes) if label not in present]
            if len(present) == 1:
                (label,) = present
                found.append(
                    f"{self.name}: every volume of its {name} split is {self.classes[label]!r}; "
                    f"{_CONSEQUENCES[name]}."
                )
            elif absent:
                more = f" and {len(absent) - 1} more classes" if len(absent) > 1 else ""
                found.append(
                    f"{self.name}: its {name} split has no volume of {absent[0]!r}{more}; "
                    f"{_CONSEQUENCES[name]}."
                )
        fitted = dict(self.preparation).get("fitted_to")
        if fitted is not None:
            found.append(
                f"{self.name}: {fitted} decides the spacing that fits all (--spacing fit)."
            )
        return tuple(found)
