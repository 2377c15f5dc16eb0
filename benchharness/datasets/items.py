"""The volumes of a person's own dataset, before any of them is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from benchharness.datasets.base import SPLITS
from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchharness.datasets.base import SplitName

SPELLINGS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call a split, in lower case."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One volume of a listing."""

    paths: tuple[Path, ...]
    """One file a channel, or one file or folder of DICOM slices."""
    name: str
    """The first path as listed, with forward slashes; unique within the dataset."""
    split: SplitName
    label: int
    patient: str | None
    """None where the listing does not say."""
    metadata: tuple[str, ...] = ()
    """What else the listing says, in the order of `Listing.columns`."""

    @property
    def path(self) -> Path:
        """The first of its paths."""
        return self.paths[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All volumes of a dataset, sorted by split and name."""

    source: Path
    """The folder or the CSV."""
    classes: tuple[str, ...]
    """In the order of the labels."""
    items: tuple[Item, ...]
    columns: tuple[str, ...] = ()
    """Names of what else is known of each volume."""

    @property
    def name(self) -> str:
        """The folder's name, or the CSV's without its suffix."""
        path = self.source.resolve()
        return path.name if path.is_dir() else path.stem

    def of(self, split: SplitName) -> tuple[Item, ...]:
        """The volumes of a split, in order."""
        return tuple(item for item in self.items if item.split == split)


def in_order(items: Sequence[Item]) -> tuple[Item, ...]:
    """Sorted by split and name."""
    return tuple(sorted(items, key=lambda item: (SPLITS.index(item.split), item.name)))


def is_number(text: str) -> bool:
    """Whether a class is called by a number."""
    return _NUMBER.fullmatch(text) is not None


def ordered_classes(
    names: Iterable[str], chosen: tuple[str, ...] | None, source: Path
) -> tuple[str, ...]:
    """The classes in the order of their labels.

    Args:
        names: Of the class of every volume.
        chosen: The order, where a person gave one; else by name, or by number where all names are
            numbers: -1 before 0, 2 before 10.
        source: For the message.

    Raises:
        BenchError: When a name is not among the chosen, or two differ only in case.
    """
    distinct = sorted(set(names))
    for name in distinct:
        if chosen is not None and name not in chosen:
            raise unknown_name(f"class of {source}:", name, chosen, hint="Correct --classes.")
    folded: dict[str, str] = {}
    for name in distinct:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise BenchError(
                f"{source} has the classes {other!r} and {name!r}, which differ only in case. "
                "Write them alike."
            )
    if chosen is not None:
        return chosen
    if all(map(is_number, distinct)):
        distinct.sort(key=Decimal)
    return tuple(distinct)
