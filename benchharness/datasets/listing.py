"""Which files a user's own dataset consists of, and what makes such a listing unfit.

Only names, the text of a CSV, and headers in text that name another file are read here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from benchharness.datasets import folders, tables
from benchharness.datasets.base import SPLITS
from benchharness.datasets.items import Item, Listing
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Item", "Listing", "read", "refuse_equal_files", "refuse_equal_volumes"]


def read(
    source: Path,
    channels: int | tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Listing:
    """List a folder `train|val|test/<class>/*`, or a CSV with columns path, label, split, patient.

    Args:
        source: The folder or the CSV.
        channels: Names of columns that list one file a channel. A number concerns files only.
        classes: In the order of the labels; None takes the source's own order.

    Raises:
        BenchError: When the source is absent or empty, has another layout, lacks a class in a
            split, lists a file twice, or has a patient in two splits.
    """
    columns = channels if isinstance(channels, tuple) else None
    if not source.is_dir():
        found = tables.read(source, columns, classes)
    elif columns is None:
        found = folders.read(source, classes)
    else:
        raise BenchError(
            f"--channels {','.join(columns)} names columns of a CSV, but {source} is a folder. "
            "List its files in a CSV, or type how many channels a file has."
        )
    _refuse_missing_classes(found)
    _refuse_repeated_files(found)
    _refuse_shared_patients(found)
    return found


def _refuse_missing_classes(found: Listing) -> None:
    if len(found.classes) < 2:
        raise BenchError(
            f"{found.source} has one class, {found.classes[0]!r}; a classifier needs at least two."
        )
    for split in SPLITS:
        present = {item.label for item in found.of(split)}
        for label, name in enumerate(found.classes):
            if label not in present:
                raise BenchError(
                    f"{found.source}: split {split} has no volume of {name!r}. Every split needs "
                    "every class: move some there, or leave the class out."
                )


def _refuse_repeated_files(found: Listing) -> None:
    seen: dict[str, Item] = {}
    for item in found.items:
        for path in item.paths:
            other = seen.get(os.path.realpath(path))
            if other is not None:
                raise BenchError(
                    f"{found.source} lists one file twice: {other.split} {other.name} and "
                    f"{item.split} {item.name}. Keep one of them."
                )
            seen[os.path.realpath(path)] = item


def _refuse_shared_patients(found: Listing) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for item in found.items:
        if item.patient is not None:
            splits[item.patient].add(item.split)
    for patient, where in splits.items():
        if len(where) > 1:
            raise BenchError(
                f"{found.source}: patient {patient!r} is in {' and '.join(sorted(where))}. Keep "
                "all volumes of a patient in one split, or training sees test patients."
            )


def refuse_equal_files(found: Listing, digests: Sequence[Sequence[str]]) -> None:
    """Refuse two files of the same bytes in two splits or with two labels.

    Args:
        found: The listing.
        digests: Of the bytes of every channel's files, in the order of `found.items`.

    Raises:
        BenchError: When there are such files; the message names them.
    """
    _refuse_equal(found, digests, "are the same file under two names")


def refuse_equal_volumes(found: Listing, digests: Sequence[Sequence[str]]) -> None:
    """Refuse two files of the same voxels in two splits or with two labels.

    Args:
        found: The listing.
        digests: Of the voxels of every channel, in the order of `found.items`.

    Raises:
        BenchError: When there are such files; the message names them.
    """
    _refuse_equal(found, digests, "hold the same voxels")


def _refuse_equal(found: Listing, digests: Sequence[Sequence[str]], what: str) -> None:
    first: dict[str, Item] = {}
    pairs = [
        (item, digest)
        for item, channels in zip(found.items, digests, strict=True)
        for digest in channels
    ]
    for item, digest in pairs:
        other = first.setdefault(digest, item)
        if other.split != item.split:
            raise BenchError(
                f"{found.source}: {other.split} {other.name} and {item.split} {item.name} {what}. "
                "Keep it in one split, or training sees test volumes."
            )
        if other.label != item.label:
            raise BenchError(
                f"{found.source}: {other.split} {other.name} and {item.split} {item.name} {what} "
                f"but are {found.classes[other.label]!r} and {found.classes[item.label]!r}. Keep "
                "the one with the right class."
            )
