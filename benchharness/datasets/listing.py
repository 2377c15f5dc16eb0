"""Which files a user's own dataset consists of: a folder by split and class, or a CSV.

Only names and the text of the CSV are read here, and no volume is opened.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from benchharness.datasets.base import LARGEST_LABEL, SPLITS
from benchharness.disk import user_path
from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from benchharness.datasets.base import SplitName

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".npy")
"""Files that hold a volume; case does not matter."""

_REQUIRED = ("path", "label", "split")
_OPTIONAL = ("patient",)
_FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd) or NumPy (.npy)"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One volume of a listing."""

    path: Path
    name: str
    """The path as listed, with forward slashes; unique within the dataset."""
    split: SplitName
    label: int
    patient: str | None
    """None where the listing does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All volumes of a dataset, sorted by split and name."""

    source: Path
    """The folder or the CSV."""
    classes: tuple[str, ...]
    """In the order of the labels."""
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """The folder's name, or the CSV's without its suffix."""
        path = self.source.resolve()
        return path.name if path.is_dir() else path.stem

    def of(self, split: SplitName) -> tuple[Item, ...]:
        """The volumes of a split, in order."""
        return tuple(item for item in self.items if item.split == split)


def read(source: Path) -> Listing:
    """List a folder `train|val|test/<class>/*`, or a CSV with columns path, label, split, patient.

    Raises:
        BenchError: When the source is absent or empty, has another layout, lacks a class in a
            split, lists a file twice, has a label that is not an integer from 0, or has a patient
            in two splits.
    """
    found = _folder(source) if source.is_dir() else _table(source)
    _refuse_missing_classes(found)
    _refuse_repeated_files(found)
    _refuse_shared_patients(found)
    return found


def _folder(source: Path) -> Listing:
    folders = {split: source / split for split in SPLITS}
    lacking = [split for split, folder in folders.items() if not folder.is_dir()]
    if lacking:
        raise BenchError(
            f"{source} has no folder {' and no folder '.join(lacking)}. Put the volumes into "
            "train/CLASS/, val/CLASS/ and test/CLASS/, or pass a CSV."
        )
    by_class = {
        (split, folder.name): tuple(_volumes(folder))
        for split, parent in folders.items()
        for folder in _classes(parent)
    }
    classes = _in_order(name for _, name in by_class)
    if not any(by_class.values()):
        raise BenchError(f"{source} holds no volumes. Put {_FORMATS} files into its class folders.")
    items = tuple(
        Item(
            path=path,
            name=path.relative_to(source / split).as_posix(),
            split=split,
            label=label,
            patient=None,
        )
        for split in SPLITS
        for label, name in enumerate(classes)
        for path in by_class.get((split, name), ())
    )
    return Listing(source=source, classes=tuple(classes), items=_sorted(items))


def _classes(parent: Path) -> Iterator[Path]:
    for entry in _entries(parent):
        if not entry.is_dir():
            raise BenchError(
                f"{entry} is a file where a class folder should be. Volumes belong in "
                f"{parent.name}/CLASS/, such as {parent.name}/benign/{entry.name}."
            )
        yield entry


def _volumes(folder: Path) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_dir() or not entry.name.lower().endswith(SUFFIXES):
            what = "a folder" if entry.is_dir() else "not a volume"
            raise BenchError(
                f"{entry} is {what}; class folders hold only {_FORMATS} files. Convert it or move "
                "it elsewhere."
            )
        yield entry


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise BenchError(f"cannot read {folder}: {error.strerror}.") from error


def _in_order(names: Iterable[str]) -> list[str]:
    """By name, or by number where all names are numbers: -1 before 0, 2 before 10."""
    distinct = sorted(set(names))
    if all(_NUMBER.fullmatch(name) for name in distinct):
        distinct.sort(key=Decimal)
    return distinct


def _table(source: Path) -> Listing:
    rows = _rows(source)
    items = _sorted([_item(source, line, row) for line, row in rows])
    count = max(item.label for item in items) + 1
    if count < 2:
        raise BenchError(f"{source}: every label is 0; a classifier needs at least two classes.")
    classes = tuple(f"class {label}" for label in range(count))
    return Listing(source=source, classes=classes, items=items)


def _rows(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers; header and width are checked."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise BenchError(
            f"cannot read {source}: {error.strerror}. Pass the path of a folder, a CSV or an .npz."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(
            f"{source} is not a CSV in UTF-8: {error}. Save it again as one."
        ) from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise BenchError(f"{source} is empty. Its first line must be path,label,split.")
    (_, header), *body = lines
    _check_columns(source, header)
    if not body:
        raise BenchError(f"{source} has a header but no volumes. Add a line for each volume.")
    for number, cells in body:
        if len(cells) != len(header):
            raise BenchError(
                f"{source}, line {number}: {len(cells)} cells under {len(header)} columns. Put "
                "paths with commas in double quotes."
            )
    return [(number, dict(zip(header, cells, strict=True))) for number, cells in body]


def _check_columns(source: Path, header: Sequence[str]) -> None:
    known = (*_REQUIRED, *_OPTIONAL)
    for column in header:
        if column not in known:
            raise unknown_name(f"column of {source}:", column, known)
    missing = [column for column in _REQUIRED if column not in header]
    if missing or len(set(header)) < len(header):
        raise BenchError(
            f"{source} has columns {', '.join(header)}; it needs path, label and split once each, "
            "and may have patient."
        )


def _item(source: Path, line: int, row: dict[str, str]) -> Item:
    where = f"{source}, line {line}"
    for column, value in row.items():
        if not value:
            raise BenchError(f"{where}: {column} is empty. Fill it in or take the line out.")
    label, name = row["label"], row["path"].replace("\\", "/")
    if not (label.isascii() and label.isdigit()) or int(label) > LARGEST_LABEL:
        raise BenchError(
            f"{where}: label {label!r} is not an integer from 0 to {LARGEST_LABEL}. Number the "
            "classes 0 to K-1."
        )
    if row["split"] not in SPLITS:
        raise unknown_name(f"split in {where}:", row["split"], SPLITS)
    if not name.lower().endswith(SUFFIXES):
        raise BenchError(f"{where}: {row['path']!r} is not a volume; use {_FORMATS} files.")
    return Item(
        path=source.parent / user_path(name, what=where),
        name=name,
        split=next(split for split in SPLITS if split == row["split"]),
        label=int(label),
        patient=row.get("patient"),
    )


def _sorted(items: Sequence[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: (SPLITS.index(item.split), item.name)))


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
        other = seen.setdefault(os.path.realpath(item.path), item)
        if other is not item:
            raise BenchError(
                f"{found.source} lists one file twice: {other.split} {other.name} and "
                f"{item.split} {item.name}. Keep one of them."
            )


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


def refuse_equal_files(found: Listing, digests: Sequence[str]) -> None:
    """Refuse two files of the same bytes in two splits or with two labels.

    Args:
        found: The listing.
        digests: Of the files' bytes, in the order of `found.items`.

    Raises:
        BenchError: When there are such files; the message names them.
    """
    _refuse_equal(found, digests, "are the same file under two names")


def refuse_equal_volumes(found: Listing, digests: Sequence[str]) -> None:
    """Refuse two files of the same voxels in two splits or with two labels.

    Args:
        found: The listing.
        digests: Of the files' voxels, in the order of `found.items`.

    Raises:
        BenchError: When there are such files; the message names them.
    """
    _refuse_equal(found, digests, "hold the same voxels")


def _refuse_equal(found: Listing, digests: Sequence[str], what: str) -> None:
    first: dict[str, Item] = {}
    for item, digest in zip(found.items, digests, strict=True):
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
