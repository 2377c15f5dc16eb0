"""The part of a run that evidence rests on, as a zip that unpacks to a run's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.disk import zipped
from benchharness.store import evidence, metadata
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.evidence.subject import Measured


def packed(directory: Path, measured: Measured) -> bytes:
    """Records, predictions and the data's table of one network; the same run gives the same bytes.

    Raises:
        BenchError: When a file of predictions is missing or changed.
    """
    store = Store(directory)
    place = evidence.checkpoint_of(measured.cell)
    records = [
        record
        for record in store.records().values()
        if evidence.checkpoint_of(record.cell) == place
    ]
    members = {"records.jsonl": "".join(f"{record.to_line()}\n" for record in records).encode()}
    for record in records:
        if record.predictions is not None:
            store.predictions(record)  # checks the file against its hash
            path = record.predictions.path
            members[path] = (directory / path).read_bytes()
    wanted = f"{measured.cell.dataset.digest.rpartition(':')[2]}.csv"
    for file in metadata.files(directory):
        if file.name == wanted:
            members[f"{metadata.FOLDER}/{wanted}"] = file.read_bytes()
    return zipped(members)
