"""A dataset by name and digest: what another process needs to load it again.

Arrays are not sent between the processes of one machine: pickling changes their strides, and with
them the last bits of logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import datasets
from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchharness.datasets import Dataset, Preparation, Split


Limits = tuple[int | None, ...]
"""Subsets that are taken of a test split, one of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What `datasets.load` was called with, and the digest of what it gave."""

    typed: str
    root: Path | None
    preparation: Preparation | None
    digest: str

    def load(self) -> Dataset:
        """Load the dataset as the plan did.

        Raises:
            BenchError: As `datasets.load`.
            CellError: When it is no longer the one that was planned.
        """
        found = datasets.load(self.typed, self.root, self.preparation)
        if found.digest != self.digest:
            raise CellError(f"{self.typed} has changed since this run began")
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volumes:
    """The evaluated volumes of a dataset, and how another process finds them."""

    dataset: Dataset
    split: Split
    data: Data
    limits: Limits = ()

    @classmethod
    def of(
        cls, dataset: Dataset, typed: str, root: Path | None, preparation: Preparation | None
    ) -> Volumes:
        """The whole test split of a dataset that `datasets.load` gave for these arguments."""
        data = Data(typed=typed, root=root, preparation=preparation, digest=dataset.digest)
        return cls(dataset=dataset, split=dataset.test, data=data)

    def limited(self, limit: int | None) -> Volumes:
        """A subset of these volumes."""
        return replace(self, split=self.split.subset(limit), limits=(*self.limits, limit))


def subset(split: Split, limits: Iterable[int | None]) -> Split:
    """Take one subset of the other, as `Volumes.limited` does."""
    for limit in limits:
        split = split.subset(limit)
    return split
