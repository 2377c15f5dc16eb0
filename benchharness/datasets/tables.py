"""A CSV of volumes as a listing: a line a volume."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from benchharness.datasets import formats
from benchharness.datasets.base import LARGEST_LABEL
from benchharness.datasets.items import (
    SPELLINGS,
    Item,
    Listing,
    in_order,
    is_number,
    ordered_classes,
)
from benchharness.disk import user_path
from benchharness.errors import BenchError, did_you_mean, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_REQUIRED = ("label", "split")
_PATIENT = "patient"
_PATIENTS = ("subject", "subject_id", "participant", "participant_id")
"""What other tables call the patient: taken for something else, volumes would seem independent."""
_CLOSE = 0.75
"""From this similarity a column is a known one, misspelt."""
_SEPARATORS = (",", ";", "\t")

Row = dict[str, str]


def read(
    source: Path,
    channels: tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Listing:
    """List a CSV with the columns path, label and split, and maybe patient and others.

    Args:
        source: The CSV, its cells separated by commas, semicolons or tabs.
        channels: Columns that list one file a channel, in place of path.
        classes: Names in the order of the labels.

    Raises:
        BenchError: When the CSV cannot be read, lacks a column or a cell, has a label or a split
            that is not known, or lists what is no volume.
    """
    columns = channels or ("path",)
    header, rows = _rows(source, columns)
    for line, row in rows:
        _refuse_empty(source, line, row, columns)
    labels, names = _labels(source, rows, classes)
    surplus = tuple(name for name in header if name and name not in (*columns, *_KNOWN))
    items = [
        _item(source, line, row, columns, surplus, label)
        for (line, row), label in zip(rows, labels, strict=True)
    ]
    return Listing(source=source, classes=names, items=in_order(items), columns=surplus)


_KNOWN = (*_REQUIRED, _PATIENT)


def _rows(source: Path, columns: Sequence[str]) -> tuple[list[str], list[tuple[int, Row]]]:
    """The header in lower case, and rows with their line numbers; the width is checked."""
    (_, header), *body = _lines(source)
    header = [name.lower() for name in header]
    _check_columns(source, header, columns, [cells for _, cells in body])
    if not body:
        raise BenchError(f"{source} has a header but no volumes. Add a line for each volume.")
    for number, cells in body:
        if len(cells) != len(header):
            raise BenchError(
                f"{source}, line {number}: {len(cells)} cells under {len(header)} columns. Put "
                "cells that hold the separator in double quotes."
            )
    return header, [(number, dict(zip(header, cells, strict=True))) for number, cells in body]


def _lines(source: Path) -> list[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers."""
    try:
        text = source.read_bytes().decode("utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(_SEPARATORS, key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
    return lines


def _check_columns(
    source: Path, header: Sequence[str], columns: Sequence[str], body: Sequence[Sequence[str]]
) -> None:
    needed = (*columns, *_REQUIRED)
    for name in header:
        if name in (*needed, _PATIENT) or not name:
            continue
        absent = [known for known in (*needed, _PATIENT) if known not in header]
        if did_you_mean(name, absent, cutoff=_CLOSE):
            raise unknown_name(f"column of {source}:", name, absent)
        if name in _PATIENTS and _PATIENT in absent:
            raise BenchError(
                f"{source} has a column {name!r} and none for the patient. Call it patient, so "
                "that volumes of one patient are not taken for independent."
            )
    named = [name for name in header if name]
    if any(name not in header for name in needed) or len(set(named)) < len(named):
        raise BenchError(
            f"{source} has columns {', '.join(named)}; it needs {', '.join(needed[:-1])} and "
            f"{needed[-1]} once each, and may have patient and others. "
            f"{_channels_hint(header, body) if 'path' in columns else ''}".rstrip()
        )


def _channels_hint(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """What to type where there is no column path but others list volumes."""
    if "path" in header or not body:
        return ""
    found = [
        name
        for place, name in enumerate(header)
        if all(place < len(cells) and formats.is_volume(cells[place]) for cells in body)
    ]
    if not found:
        return ""
    if len(found) == 1:
        return f"Call {found[0]} path."
    names = ",".join(found)
    return f"If {names} are sequences of one examination, type --channels {names}."


def _refuse_empty(source: Path, line: int, row: Row, columns: Sequence[str]) -> None:
    for name, value in row.items():
        if not value and name in (*columns, *_KNOWN):
            raise BenchError(
                f"{source}, line {line}: {name} is empty. Fill it in or take the line out."
            )


def _labels(
    source: Path, rows: Sequence[tuple[int, Row]], classes: tuple[str, ...] | None
) -> tuple[list[int], tuple[str, ...]]:
    """The label of every row, and the names of the classes."""
    words = [row["label"] for _, row in rows]
    if (classes is not None and set(words) <= set(classes)) or not any(map(is_number, words)):
        names = ordered_classes(words, classes, source)
        return [names.index(word) for word in words], names
    for line, row in rows:
        label = row["label"]
        if not (label.isascii() and label.isdigit()) or int(label) > LARGEST_LABEL:
            raise BenchError(
                f"{source}, line {line}: label {label!r} is not an integer from 0 to "
                f"{LARGEST_LABEL}. Number the classes 0 to K-1, or name all of them in words."
            )
    labels = [int(word) for word in words]
    count = max(labels) + 1
    if count < 2:
        raise BenchError(f"{source}: every label is 0; a classifier needs at least two classes.")
    return labels, class_names(count, classes, source)


def class_names(count: int, chosen: tuple[str, ...] | None, source: Path) -> tuple[str, ...]:
    """Names of classes that the data numbers.

    Raises:
        BenchError: When a person named another number of classes.
    """
    if chosen is not None and len(chosen) != count:
        raise BenchError(
            f"--classes names {len(chosen)} classes, but {source} has labels from 0 to "
            f"{count - 1}. Name {count}."
        )
    return chosen or tuple(f"class {label}" for label in range(count))


def _item(
    source: Path, line: int, row: Row, columns: Sequence[str], surplus: Sequence[str], label: int
) -> Item:
    where = f"{source}, line {line}"
    split = SPELLINGS.get(row["split"].lower())
    if split is None:
        raise unknown_name(f"split in {where}:", row["split"], sorted(SPELLINGS))
    names = [row[column].replace("\\", "/") for column in columns]
    paths = []
    for name in names:
        path = source.parent / user_path(name, what=where)
        if not formats.is_volume(name) and not path.is_dir():
            raise BenchError(
                f"{where}: {name!r} is not a volume; list {formats.KNOWN} files, or folders of "
                "DICOM slices."
            )
        paths.append(path)
    return Item(
        paths=tuple(paths),
        name=names[0],
        split=split,
        label=label,
        patient=row.get(_PATIENT),
        metadata=tuple(row[name] for name in surplus),
    )
