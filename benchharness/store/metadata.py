"""What a person's table says of each volume beside its label: `metadata/DIGEST.csv` of a store.

One file a dataset: the first column is the id that predictions have, the others are those of the
table, such as site, sex, age or scanner. No identity and no number depends on it.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from benchharness.disk import explaining, files_within, write_atomically
from benchharness.errors import BenchError
from benchharness.outside import escaping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOLDER = "metadata"

Columns = tuple[tuple[str, tuple[str, ...]], ...]
"""Names, and a text for each volume."""


def keep(directory: Path, digest: str, ids: Sequence[str], columns: Columns) -> None:
    """Write what is known of the volumes of a dataset, unless the file says so already.

    Args:
        directory: Of the store.
        digest: Of the dataset, after its algorithm.
        ids: Of N volumes.
        columns: Nothing is written without any.

    Raises:
        BenchError: When the file cannot be written.
    """
    if not columns:
        return
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    texts = [("id", tuple(ids)), *columns]
    writer.writerow([escaping.spreadsheet(name) for name, _ in texts])
    for row in zip(*(values for _, values in texts), strict=True):
        writer.writerow([escaping.spreadsheet(value) for value in row])
    content = stream.getvalue().encode()
    path = directory / FOLDER / f"{digest.rpartition(':')[2]}.csv"
    with explaining(str(path), "Make room there, or name another folder with --out."):
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)


def read(directory: Path, digest: str) -> dict[str, dict[str, str]]:
    """What is known of the volumes of a dataset: texts by id and column; empty without a file.

    Raises:
        BenchError: When the file cannot be read or is no table of volumes.
    """
    path = directory / FOLDER / f"{digest.rpartition(':')[2]}.csv"
    if path not in files(directory):
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(
            f"cannot read {path}: {error}. Type the same 'bench run' again."
        ) from error
    if any("id" not in row or None in row or None in row.values() for row in rows):
        raise BenchError(f"{path} is no table of volumes. Type the same 'bench run' again.")
    return {
        row["id"]: {
            escaping.from_spreadsheet(name): escaping.from_spreadsheet(text)
            for name, text in row.items()
            if name != "id"
        }
        for row in rows
    }


def files(directory: Path) -> Iterator[Path]:
    """The files of a store; links that lead out of it are not among them."""
    return files_within(directory, FOLDER, "*.csv")
