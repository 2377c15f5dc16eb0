"""Open what a path on the command line names: a store's folder or a baseline's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.store import baseline
from benchharness.store.entries import Entry
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from benchharness.store.source import Source


def open_source(path: Path) -> Source:
    """A store, where `path` is a folder, or a baseline, where it is a file.

    Raises:
        BenchError: When there is neither, or a baseline cannot be read.
    """
    try:
        if path.is_file():
            return baseline.read(path)
        store = Store(path)
        there = store.lines.exists()
    except OSError as error:  # Such as a name that is too long.
        raise BenchError(f"cannot read {path}: {error.strerror}.") from error
    if not there:
        raise BenchError(
            f"no records in {path}. Give the folder of a 'bench run' or a file of "
            "'bench baseline save'."
        )
    return store


def entries_of(source: Source) -> Collection[Entry]:
    """What an index says of every record of a store or a baseline."""
    if isinstance(source, Store):
        return source.entries().values()
    return [Entry.of(record) for record in source.records().values()]
