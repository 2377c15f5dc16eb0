"""The index of `records.jsonl`: where every record's line is, and what is asked of it most often.

The lines stay the truth. The index is a file that can be removed at any time: it is believed only
for a prefix of the lines that has not changed since, and made anew when it is missing, damaged or
another store's. It takes its name once it is whole, so a kill leaves the old one. It is written
whenever it lacks `WORTH` lines, so small stores have none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from benchharness.canonical import sha256
from benchharness.disk import write_atomically
from benchharness.errors import BenchError
from benchharness.store import schema
from benchharness.store.entries import Entry, Stamp, from_columns, stamp_of, to_columns
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAME = ".records.index"
WORTH = 1000
"""The index is written when so many lines, or checked files of predictions, are new to it."""

_FORMAT = "benchharness index of records, version 4"


class Index:
    """The entries of a file of lines.

    Args:
        lines: The file, `records.jsonl`.
    """

    def __init__(self, lines: Path) -> None:
        self.lines = lines
        self.entries: dict[str, Entry] = {}
        """By identity, in the order of first appearance."""
        self.fresh: dict[str, Record] = {}
        """Records of lines that the file of the index lacks: read already, and few."""
        self.end = 0
        """How many bytes of the lines are indexed; ends behind a newline."""
        self.count = 0
        """How many lines these are."""
        self.news = 0
        """Lines and checked files that the file of the index lacks."""
        self._stamp: Stamp | None = None

    def read(self, *, trusting: bool = True) -> Self:
        """Read the index on disk, then the lines that it lacks; every line where there is none.

        Args:
            trusting: Whether to believe the index on disk.

        Raises:
            BenchError: When the lines cannot be read, or one is not a record; the message names
                file and line.
        """
        try:
            now = stamp_of(self.lines)
            if trusting:
                self._restore(now)
            if now != self._stamp:
                with self.lines.open("rb") as stream:
                    stream.seek(self.end)
                    self._add_all(stream)
        except (FileNotFoundError, NotADirectoryError):
            return self
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BenchError(f"cannot read records {self.lines}: {reason}.") from error
        self._stamp = now
        self.save_if_worth()
        return self

    def is_current(self) -> bool:
        """Whether the lines are still those that were indexed."""
        try:
            return stamp_of(self.lines) == self._stamp
        except (OSError, ValueError):
            return False

    def _add_all(self, lines: Iterable[bytes]) -> None:
        """Index every complete line of what follows; a torn one is left out."""
        for raw in lines:
            if not raw.endswith(b"\n"):
                return
            try:
                record = Record.from_line(raw.decode())
            except (BenchError, UnicodeDecodeError) as error:
                raise BenchError(f"{self.lines}, line {self.count + 1}: {error}") from error
            self._add(record, len(raw) - 1)

    def _add(self, record: Record, length: int, stamp: Stamp | None = None) -> None:
        entry = Entry.of(record, self.end, length, stamp)
        self.entries[entry.identity] = entry
        self.end += length + 1
        self.count += 1
        self.news += 1
        if self.news > WORTH:
            self.fresh.clear()
        else:
            self.fresh[entry.identity] = record

    def appended(self, record: Record, length: int, stamp: Stamp | None) -> None:
        """Take in a line that this process appended, under the store's lock."""
        self._add(record, length, stamp)
        self._stamp = stamp_of(self.lines)
        self.save_if_worth()

    def checked(self, entry: Entry, stamp: Stamp) -> None:
        """Note that the predictions of an entry were read and are those recorded."""
        self.entries[entry.identity] = entry._replace(stamp=stamp)
        self.news += 1

    def save_if_worth(self) -> None:
        """Write the index if it lacks much; what prevents that is no fault, it only saves time."""
        if self.news < WORTH or not self.is_current():
            return
        try:
            prefix = _sha256_of_prefix(self.lines, self.end)
            if not self.is_current():
                return
            write_atomically(self.lines.with_name(NAME), self._to_bytes(prefix))
        except OSError:
            return
        self.news = 0
        self.fresh.clear()

    def _to_bytes(self, prefix: str) -> bytes:
        body = {
            "end": self.end,
            "count": self.count,
            "stamp": self._stamp,
            "sha256": prefix,
            "entries": to_columns(self.entries.values()),
        }
        content = json.dumps(body, separators=(",", ":")).encode()
        return f"{_FORMAT}\n{sha256(content)}\n".encode() + content

    def _restore(self, now: Stamp) -> None:
        """Take over the index on disk, if it is one of a prefix of the lines as they are now."""
        try:
            place = self.lines.with_name(NAME)
            if not place.is_file():  # A pipe, say, would be waited for.
                return
            name, digest, content = place.read_bytes().split(b"\n", 2)
            if name.decode() != _FORMAT or digest.decode() != sha256(content):
                return
            body: dict[str, Any] = json.loads(content)
            end, count, then = int(body["end"]), int(body["count"]), tuple(body["stamp"])
            # An index that came with a copied folder may say anything; this file's inode it lacks.
            if not 0 <= end <= now[0] or then[3] != now[3]:
                return
            if then != now and _sha256_of_prefix(self.lines, end) != body["sha256"]:
                return
            entries = from_columns(body["entries"])
        except (OSError, *schema.MISFIT):
            return
        self.entries, self.end, self.count = entries, end, count
        self._stamp = now if then == now else None


def _sha256_of_prefix(path: Path, count: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while count > 0 and (part := stream.read(min(count, 1 << 20))):
            digest.update(part)
            count -= len(part)
    return digest.hexdigest()


class Records(Mapping[str, Record]):
    """The newest record of every identity, in the order of first appearance.

    Each is read from its line when it is asked for, so a store of any size takes little memory.
    """

    def __init__(self, index: Index, entries: Mapping[str, Entry]) -> None:
        self._lines, self._fresh = index.lines, dict(index.fresh)
        self._entries = dict(entries)

    def __getitem__(self, identity: str) -> Record:
        entry = self._entries[identity]
        if identity in self._fresh:
            return self._fresh[identity]
        record = self._read(entry)
        if record is None:
            # The lines were rewritten since, or a made-up index was believed: the lines decide.
            anew = Index(self._lines).read(trusting=False).entries
            self._entries = {name: anew[name] for name in self._entries if name in anew}
            record = self._read(self._entries[identity]) if identity in anew else None
        if record is None:
            raise BenchError(f"{self._lines} changed while it was read. Try again.")
        return record

    def _read(self, entry: Entry) -> Record | None:
        """The record at the place that an entry names; None if another or none is there."""
        try:
            with self._lines.open("rb", buffering=0) as stream:
                stream.seek(entry.offset)
                record = Record.from_line(stream.read(entry.length).decode())
        except (OSError, ValueError, BenchError):
            return None
        return record if record.identity == entry.identity else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, identity: object) -> bool:
        return identity in self._entries
