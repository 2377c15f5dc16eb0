"""What is explained: networks on one dataset, under conditions that the caller defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.store import cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.datasets import Dataset, Split
    from benchharness.networks.classifier import Classifier
    from benchharness.store.cells import DatasetKey, ModelKey, PerturbationKey

    Volumes = Callable[[slice], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """A perturbation of a network's volumes at one severity, or none."""

    key: PerturbationKey
    volumes: Callable[[Classifier, Split], Volumes]
    """Takes the network, prepared by `for_evaluation`, and some test volumes. Returns a function
    from a slice of them to volumes (B, C, D, H, W) in [0, 1] under this condition."""

    @property
    def label(self) -> str:
        """`clean`, `pgd 8/255`, `motion level 3`."""
        return cells.condition(self.key)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A trained network."""

    name: str
    """What tables and pictures call it."""
    model: ModelKey
    checkpoint: str
    """SHA-256 of the weights."""
    load: Callable[[], Classifier]
    """Loads it as its author wrote it."""
    conditions: tuple[Condition, ...]
    """Clean first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """Networks on one dataset."""

    dataset: Dataset
    split: Split
    """The measured volumes: the test split, or a subset of it."""
    key: DatasetKey
    """The key of `split`."""
    networks: tuple[Network, ...]
    """At least one; their conditions have the same labels in the same order."""
    device: str
    batch_size: int
    """Volumes per forward pass; halved when memory runs out."""
    compiled: bool = False
    """Whether attacks run networks through `torch.compile`."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those of the first network; the others' differ at most in the network of a source."""
        return self.networks[0].conditions
