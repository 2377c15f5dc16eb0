"""The folder of a store: `records.jsonl`, append only, one record per line, and `predictions/`.

Predictions are on disk before the line that names them is appended, so a kill at any moment loses
at most the cell in flight. Readers ignore a line that a kill cut short, and the next writer removes
it. A full disk leaves the store as it was before the cell.
"""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from benchharness.canonical import sha256
from benchharness.disk import NO_LOCKS, clear_partial, write_atomically
from benchharness.errors import BenchError
from benchharness.store.entries import stamp_of
from benchharness.store.index import Index, Records
from benchharness.store.predictions import Predictions
from benchharness.store.records import Stored
from benchharness.store.superseded import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Set

    from benchharness.store.cells import Cell
    from benchharness.store.entries import Entry, Stamp
    from benchharness.store.records import Record

STAGING = ".merging"
"""The folder in which a merge prepares what it adds; a killed merge leaves it."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""How a disk says that it takes no more; such errors of a write name no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Which cells are recorded, by identity."""

    sound: Set[str]
    """Measured, and their predictions are those recorded: they need not run again."""
    damaged: Mapping[str, str]
    """Measured, but their predictions are missing or changed: why, in one line."""


class Store:
    """A folder of records and predictions; a `Source`.

    Args:
        directory: The folder, which only `writing` creates.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines = directory / "records.jsonl"
        self._index: Index | None = None
        self._stamps: dict[str, Stamp] = {}
        """Of the predictions saved by this object and not appended yet, by path."""

    @property
    def checkpoints(self) -> Path:
        """The folder where `bench run` and `bench train` keep checkpoints."""
        return self.directory / "checkpoints"

    def records(self, wanted: Callable[[Entry], bool] | None = None) -> Records:
        """The newest record of every identity, in the order of first appearance.

        Args:
            wanted: Which of them; no line of another is read. None takes all.

        Raises:
            BenchError: When a complete line is not a record; the message names file and line.
        """
        found = self.entries()
        if wanted is not None:
            found = {identity: entry for identity, entry in found.items() if wanted(entry)}
        return Records(self._indexed(), found)

    def records_of(self, identities: Iterable[str]) -> Records:
        """Some of `records`, by their identities, all of which must be among them."""
        entries = self._indexed().entries
        return Records(self._indexed(), {identity: entries[identity] for identity in identities})

    def entries(self) -> Mapping[str, Entry]:
        """What the index says of every record, without reading its line.

        Raises:
            BenchError: As `records`.
        """
        index = self._indexed()
        return current(index.entries)

    def _indexed(self) -> Index:
        if self._index is None or not self._index.is_current():
            self._index = Index(self.lines).read()
        return self._index

    def recorded(self) -> Recorded:
        """Which cells need not run again.

        A file of predictions is hashed once, and again only if its size, times or inode changed.

        Raises:
            BenchError: As `records`.
        """
        index = self._indexed()
        damaged: dict[str, str] = {}
        measured = [entry for entry in index.entries.values() if entry.status == "ok"]
        for entry, stamp in zip(measured, self._stamps_of(measured), strict=True):
            if stamp != entry.stamp and (reason := self._damage(entry, index)):
                damaged[entry.identity] = reason
        index.save_if_worth()
        sound = frozenset(entry.identity for entry in measured) - damaged.keys()
        return Recorded(sound=sound, damaged=damaged)

    def _stamps_of(self, entries: Iterable[Entry]) -> Iterator[Stamp | None]:
        """Stamps of the entries' predictions as they are now; None where there are none."""
        folder = f"{self.directory}/"  # as text, since a path takes longer than the system's answer
        for entry in entries:
            try:
                yield None if entry.predictions is None else stamp_of(folder + entry.predictions)
            except (OSError, ValueError):
                yield None

    def _damage(self, entry: Entry, index: Index) -> str:
        """What is wrong with the predictions of a recorded cell; empty if nothing."""
        if entry.predictions is None or entry.sha256 is None:
            return ""
        place = self.directory / entry.predictions
        try:
            stamp = stamp_of(place)
            self._content(Stored(path=entry.predictions, sha256=entry.sha256))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return f"cannot read predictions {place}: {reason}."
        except BenchError as error:
            return str(error)
        index.checked(entry, stamp)
        return ""

    def predictions(self, record: Record) -> Predictions:
        """The predictions of a record, checked against their hash.

        Raises:
            BenchError: When the record has none, or the file is missing, changed or unreadable.
        """
        if record.predictions is None:
            why = "is not applicable" if record.inapplicable else "failed"
            raise BenchError(f"record {record.identity[:12]} {why} and has no predictions.")
        content = self._content(record.predictions)
        return Predictions.from_bytes(content, source=str(self.directory / record.predictions.path))

    def _content(self, stored: Stored) -> bytes:
        """A file of predictions, if it is inside the store and the one that was recorded."""
        path = self.directory / stored.path
        if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self.directory)):
            raise BenchError(
                f"a record names predictions outside its store: {path}. Remove the record and run "
                "again."
            )
        try:
            if path.exists() and not path.is_file():
                raise BenchError(f"cannot read predictions {path}: it is no file.")
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BenchError(f"cannot read predictions {path}: {reason}.") from error
        if sha256(content) != stored.sha256:
            raise BenchError(
                f"{path} is not the file that was recorded (its SHA-256 differs). Type the same "
                "'bench run' again to measure that cell anew."
            )
        return content

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock, and first remove what a killed writer left unfinished.

        Raises:
            BenchError: When another process holds the lock, the folder cannot be written or has no
                locks, or the disk is full.
        """
        with ExitStack() as held:
            self._lock(held)
            try:
                self._clear_unfinished()
                yield
            except OSError as error:
                ours = str(error.filename or "").startswith(str(self.directory))
                if not ours and error.errno not in _FULL:
                    raise
                raise self._unwritable(error) from error

    def _lock(self, held: ExitStack) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "predictions").mkdir(exist_ok=True)
            with warnings.catch_warnings():
                # Without locks filelock warns and takes a file for one, which outlives a kill.
                warnings.simplefilter("error", UserWarning)
                held.enter_context(FileLock(self.directory / ".lock", timeout=0))
        except Timeout:
            raise BenchError(
                f"another run is writing to {self.directory}. Wait for it, or pass another --out."
            ) from None
        except (OSError, ValueError, NotImplementedError, UserWarning) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise self._unwritable(error) from error
            if isinstance(error, ValueError):
                raise BenchError(f"cannot write to {self.directory}: {error}.") from error
            raise BenchError(
                f"the file system of {self.directory} has no file locks, without which two runs at "
                "once would damage each other's records. Pass an --out on a local disk and copy "
                "that folder afterwards."
            ) from error

    def _unwritable(self, error: OSError) -> BenchError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = (
            "Everything recorded so far is kept: free some space and run the same command again."
            if full
            else "Pass another --out."
        )
        return BenchError(f"cannot write to {self.directory}: {error.strerror}. {remedy}")

    def save_predictions(self, cell: Cell, predictions: Predictions) -> Stored:
        """Write predictions atomically; call within `writing`, before `append`."""
        content = predictions.to_bytes()
        relative = f"predictions/{cell.identity}.npz"
        write_atomically(self.directory / relative, content)
        self._stamps[relative] = stamp_of(self.directory / relative)
        return Stored(path=relative, sha256=sha256(content))

    def append(self, record: Record) -> None:
        """Append one record durably, or leave the lines as they were; call within `writing`.

        Raises:
            OSError: When the disk is full, or another fault of it; `writing` makes it a BenchError.
        """
        index = self._indexed()
        line = record.to_line().encode()
        _append(self.lines, line + b"\n")
        path = None if record.predictions is None else record.predictions.path
        index.appended(record, len(line), None if path is None else self._stamps.pop(path, None))

    def _clear_unfinished(self) -> None:
        clear_partial(self.directory)
        clear_partial(self.directory / "predictions")
        shutil.rmtree(self.directory / STAGING, ignore_errors=True)
        if not self.lines.exists():
            return
        with self.lines.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 1, 0))
            if stream.read(1) in (b"", b"\n"):
                return
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)


def _append(path: Path, content: bytes) -> None:
    """Append to a file durably; after an error it is as long as it was."""
    # Without a buffer, which would be written again when the file is closed.
    with path.open("ab", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())
        except BaseException:
            with suppress(OSError):
                stream.truncate(end)
            raise
