"""Entries: what the index says of every record, and its form in a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from benchharness.canonical import digest
from benchharness.store.columns import pack, unpack
from benchharness.store.evidence import checkpoint_of
from benchharness.store.superseded import trainings_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchharness.store.cells import Kind
    from benchharness.store.records import Record

Stamp = tuple[int, int, int, int]
"""A file's size, time of its content, time of its inode and inode. The same stamp is the same
content: what changes a file changes the third, which no program can set back."""
NEVER: Stamp = (0, 0, 0, 0)
"""Of no file: the stamp of one that was not looked at."""


def stamp_of(path: Path | str) -> Stamp:
    """The stamp of a file.

    Raises:
        OSError: When there is none.
    """
    found = os.stat(path)  # noqa: PTH116  # making a path object takes longer than the answer
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Entry(NamedTuple):
    """One record as the index knows it: the newest of its identity."""

    identity: str
    offset: int
    """Where its line begins, in bytes."""
    length: int
    """Bytes of the line without its newline."""
    status: str
    """`ok` or `error`."""
    model: str
    recipe: str
    """What its weights were trained with; empty for weights that the user brought."""
    seed: int | None
    """The training seed."""
    dataset: str
    """The dataset's digest."""
    kind: Kind
    """Of the perturbation."""
    family: str
    predictions: str | None
    """Path of its predictions relative to the store; None where it has none."""
    sha256: str | None
    """Digest of these predictions."""
    done: str
    """What was trained for it, as `Trainings`."""
    awaited: str
    """What was yet to be trained."""
    dataset_name: str
    volumes: int
    """How many volumes were evaluated."""
    checkpoint: str
    """Digest of what cells of one network with one set of weights on one dataset share."""
    accuracy: float | None
    """None where it failed."""
    control: bool
    """As `Record.control`."""
    suspect: bool
    """As `Record.suspect`."""
    stamp: Stamp
    """Of the file of predictions when its digest was last found right; else `NEVER`."""

    @classmethod
    def of(
        cls, record: Record, offset: int = 0, length: int = 0, stamp: Stamp | None = None
    ) -> Self:
        """The entry of a record whose line begins at `offset`."""
        cell, stored = record.cell, record.predictions
        trainings = trainings_of(cell)
        return cls(
            record.identity,
            offset,
            length,
            record.status,
            cell.model.name,
            cell.checkpoint.recipe_name or "",
            cell.checkpoint.seed,
            cell.dataset.digest,
            cell.perturbation.kind,
            cell.perturbation.family,
            None if stored is None else stored.path,
            None if stored is None else stored.sha256,
            trainings.done,
            trainings.awaited,
            cell.dataset.name,
            cell.dataset.count,
            digest(checkpoint_of(cell))[:16],
            record.metrics.get("accuracy"),
            record.control,
            record.suspect,
            NEVER if stamp is None else stamp,
        )


_TYPES: dict[str, tuple[type, ...]] = {
    "offset": (int,),
    "length": (int,),
    "seed": (int, type(None)),
    "predictions": (str, type(None)),
    "sha256": (str, type(None)),
    "volumes": (int,),
    "accuracy": (float, int, type(None)),
    "control": (bool,),
    "suspect": (bool,),
}
"""Of the fields of an entry that are no text."""
_PLAIN = Entry._fields[:-1]
"""The fields of an entry but the stamp, which takes four columns."""
_USUAL = "predictions/{}.npz"
"""Where the predictions of an identity are; the index names other places only."""


def to_columns(entries: Iterable[Entry]) -> list[object]:
    """The entries as columns of JSON."""
    *columns, stamps = zip(*entries, strict=True)
    found = dict(zip(_PLAIN, columns, strict=True))
    usual = map(_USUAL.format, found["identity"])
    found["predictions"] = tuple(
        "" if path == place else path
        for path, place in zip(found["predictions"], usual, strict=True)
    )
    return [pack(column) for column in (*found.values(), *zip(*stamps, strict=True))]


def from_columns(packed: list[Any]) -> dict[str, Entry]:
    """The entries of an index that was read; raises one of `schema.MISFIT` if they are none."""
    plain, stamps = packed[: len(_PLAIN)], packed[len(_PLAIN) :]
    count = len(unpack(plain[0], (str,)))
    found = {
        name: unpack(column, _TYPES.get(name, (str,)), count)
        for name, column in zip(_PLAIN, plain, strict=True)
    }
    found["predictions"] = [
        _USUAL.format(identity) if path == "" else path
        for path, identity in zip(found["predictions"], found["identity"], strict=True)
    ]
    times = zip(*(unpack(column, (int,), count) for column in stamps), strict=True)
    rows = zip(*found.values(), times, strict=True)
    return dict(zip(found["identity"], map(Entry._make, rows), strict=True))
