"""Baselines: the records and predictions of a store in one small file, to be committed.

A baseline is a zip archive of plain formats, so that it can be read years later and without this
library:

- `baseline.json`: format, schema, the version that wrote it, and SHA-256 of the other members;
- `records.jsonl`: the store's lines, unchanged;
- `volumes.json`: for each set of volumes their ids and labels, and the identities of its cells;
- `logits/I.npy`: the logits of the I-th set's cells, float32, (cells, N, K).

Logits are kept bit for bit, so every metric of the store is reproduced exactly. Weights and the
per-volume findings of attacks are left out, since no metric needs them.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.canonical import canonical_json, sha256
from benchharness.disk import DAMAGE, explaining, read_array, unpack, write_atomically, zipped
from benchharness.errors import BenchError
from benchharness.store.predictions import Predictions, fault
from benchharness.store.provenance import package_version
from benchharness.store.records import Record
from benchharness.store.schema import newer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchharness.store.source import Source

SCHEMA = 1
"""Version of the archive's layout; the records inside have their own."""

_FORMAT = "benchharness baseline"
_HEADER, _RECORDS, _VOLUMES = "baseline.json", "records.jsonl", "volumes.json"


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A baseline in memory; a `Source`."""

    path: Path
    written_by: str
    """Version of the library that wrote it."""
    size: int
    """Bytes of the file."""
    _records: Mapping[str, Record]
    _predictions: Mapping[str, Predictions]

    def records(self) -> dict[str, Record]:
        """The newest record of every identity, in the order of the store."""
        return dict(self._records)

    def predictions(self, record: Record) -> Predictions:
        """Ids, labels and logits of a record.

        Raises:
            BenchError: When the baseline holds no predictions of the record.
        """
        if record.identity not in self._predictions:
            raise BenchError(f"{self.path} holds no predictions of {record.identity[:12]}.")
        return self._predictions[record.identity]


def save(source: Source, path: Path) -> Baseline:
    """Write the baseline of a store to a file, and read it back.

    Raises:
        BenchError: When the store has no record or a damaged file, or `path` cannot be written.
    """
    content = pack(source)
    with explaining(f"baseline {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return read(path)


def pack(source: Source) -> bytes:
    """The baseline of a store as bytes; the same store gives the same bytes.

    Raises:
        BenchError: When the store has no record, or a file of predictions was changed.
    """
    records = source.records()
    if not records:
        raise BenchError("a baseline needs records, got none. Type 'bench run' to make some.")
    groups: dict[str, dict[str, Any]] = {}
    for identity, record in records.items():
        if record.predictions is None:
            continue
        found = source.predictions(record)
        key = {"ids": found.ids.tolist(), "labels": found.labels.tolist()}
        if found.patients is not None:
            key["patients"] = found.patients.tolist()
        name = canonical_json([key, found.logits.shape])
        group = groups.setdefault(name, key | {"cells": [], "logits": []})
        group["cells"].append(identity)
        group["logits"].append(found.logits)
    members = {
        _RECORDS: "".join(f"{record.to_line()}\n" for record in records.values()).encode(),
        _VOLUMES: canonical_json(
            [{k: v for k, v in group.items() if k != "logits"} for group in groups.values()]
        ).encode(),
    }
    for index, group in enumerate(groups.values()):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.stack(group["logits"]), allow_pickle=False)
        members[f"logits/{index}.npy"] = buffer.getvalue()
    header = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "written_by": package_version(),
        "sha256": {name: sha256(member) for name, member in members.items()},
    }
    return zipped({_HEADER: (json.dumps(header, indent=2) + "\n").encode(), **members})


def read(path: Path) -> Baseline:
    """Read a baseline and check every hash.

    Raises:
        BenchError: When the file is no baseline, is damaged, or comes from a newer schema.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read baseline {path}: {error.strerror}.") from error
    return from_bytes(content, path=path)


def from_bytes(content: bytes, *, path: Path) -> Baseline:
    """Read what `pack` gave.

    Raises:
        BenchError: As `read`; the message names `path`.
    """
    try:
        members = unpack(content)
        written_by = _check_header(json.loads(members.pop(_HEADER)), members, path)
        predictions = _predictions(members)
        records = [Record.from_line(line) for line in members[_RECORDS].decode().splitlines()]
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"cannot read baseline {path}: {reason}. Give a file that 'bench baseline save' wrote."
        ) from error
    expected = {record.identity for record in records if record.predictions is not None}
    if expected != set(predictions):
        raise BenchError(
            f"baseline {path} holds predictions of {len(predictions)} cells for {len(expected)} "
            "records. Save it again."
        )
    return Baseline(
        path, written_by, len(content), {record.identity: record for record in records}, predictions
    )


def _check_header(header: dict[str, Any], members: Mapping[str, bytes], path: Path) -> str:
    """Check the header against the other members; returns the version that wrote the file."""
    schema = header["schema"]
    if header["format"] != _FORMAT or type(schema) is not int or schema < 1:
        raise ValueError(f"its header says {header['format']!r}, schema {schema!r}")
    if schema > SCHEMA:
        raise newer(f"baseline {path}", schema, SCHEMA)
    found = {name: sha256(member) for name, member in members.items()}
    if found != header["sha256"]:
        raise ValueError("its members are not those that were packed (SHA-256 differs)")
    return str(header["written_by"])


def _predictions(members: Mapping[str, bytes]) -> dict[str, Predictions]:
    found: dict[str, Predictions] = {}
    for index, group in enumerate(json.loads(members[_VOLUMES])):
        ids = np.asarray([str(name) for name in group["ids"]], dtype=np.str_)
        labels = np.asarray(group["labels"], dtype=np.int64)
        logits = read_array(members[f"logits/{index}.npy"])
        cells = [str(identity) for identity in group["cells"]]
        patients = group.get("patients")
        if patients is not None:
            patients = np.asarray([str(name) for name in patients], dtype=np.str_)
            if patients.shape != ids.shape:
                raise ValueError("it does not name one patient per volume")
        shapes = labels.shape == ids.shape and logits.shape[:2] == (len(cells), len(ids))
        if not shapes or logits.ndim != 3 or logits.dtype != np.float32:
            raise ValueError(f"its logits {logits.shape} do not fit {len(cells)} cells")
        if wrong := fault(labels, logits):
            raise ValueError(f"it holds {wrong}")
        for identity, values in zip(cells, logits, strict=True):
            found[identity] = Predictions(ids=ids, labels=labels, logits=values, patients=patients)
    return found
