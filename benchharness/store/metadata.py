"""What a person's table says of each volume beside its label: `metadata/DIGEST.csv` of a store.

One file a dataset: the first column is the id that predictions have, the others are those of the
table, such as site, sex, age or scanner. No identity and no number depends on it.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from benchharness.disk import explaining, files_within, write_atomically
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


def files(directory: Path) -> Iterator[Path]:
    """The files of a store; links that lead out of it are not among them."""
    return files_within(directory, FOLDER, "*.csv")
