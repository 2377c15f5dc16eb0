"""The folder of a store: `records.jsonl`, append only, one record per line, and `predictions/`.

Predictions are on disk before the line that names them is appended, so a kill at any moment loses
at most the cell in flight. Readers ignore a line that a kill cut short, and the next writer removes
it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from benchharness.canonical import sha256
from benchharness.disk import clear_partial, write_atomically
from benchharness.errors import BenchError
from benchharness.store import superseded
from benchharness.store.predictions import Predictions
from benchharness.store.records import Record, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.store.cells import Cell


class Store:
    """A folder of records and predictions; a `Source`.

    Args:
        directory: The folder, which only `writing` creates.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines = directory / "records.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder where `bench run` and `bench train` keep checkpoints."""
        return self.directory / "checkpoints"

    def records(self) -> dict[str, Record]:
        """The newest record of every identity, in the order of first appearance.

        Raises:
            BenchError: When a complete line is not a record; the message names file and line.
        """
        if not self.lines.exists():
            return {}
        found: dict[str, Record] = {}
        try:
            content = self.lines.read_bytes()
        except OSError as error:
            raise BenchError(f"cannot read records {self.lines}: {error.strerror}.") from error
        complete = content[: content.rfind(b"\n") + 1]
        for number, raw in enumerate(complete.splitlines(), start=1):
            try:
                record = Record.from_line(raw.decode())
            except (BenchError, UnicodeDecodeError) as error:
                raise BenchError(f"{self.lines}, line {number}: {error}") from error
            found[record.identity] = record
        return superseded.current(found)

    def predictions(self, record: Record) -> Predictions:
        """The predictions of a record, checked against their hash.

        Raises:
            BenchError: When the record has none, or the file is missing, changed or unreadable.
        """
        if record.predictions is None:
            why = "is not applicable" if record.inapplicable else "failed"
            raise BenchError(f"record {record.identity[:12]} {why} and has no predictions.")
        path = self.directory / record.predictions.path
        if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self.directory)):
            raise BenchError(
                f"record {record.identity[:12]} names predictions outside its store: {path}. "
                "Remove the record and run again."
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BenchError(f"cannot read predictions {path}: {error.strerror}.") from error
        if sha256(content) != record.predictions.sha256:
            raise BenchError(
                f"{path} is not the file that was recorded (its SHA-256 differs). Remove it and "
                "its record, then run again."
            )
        return Predictions.from_bytes(content, source=str(path))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock, and first remove what a killed writer left unfinished.

        Raises:
            BenchError: When another process holds the lock or the folder cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "predictions").mkdir(exist_ok=True)
            lock = FileLock(self.directory / ".lock", timeout=0)
            with lock:
                self._clear_unfinished()
                yield
        except Timeout:
            raise BenchError(
                f"another run is writing to {self.directory}. Wait for it, or pass another --out."
            ) from None
        except OSError as error:
            if error.filename is None or not str(error.filename).startswith(str(self.directory)):
                raise
            raise BenchError(
                f"cannot write to {self.directory}: {error.strerror}. Pass another --out."
            ) from error

    def save_predictions(self, cell: Cell, predictions: Predictions) -> Stored:
        """Write predictions atomically; call within `writing`, before `append`."""
        content = predictions.to_bytes()
        relative = Path("predictions") / f"{cell.identity}.npz"
        write_atomically(self.directory / relative, content)
        return Stored(path=relative.as_posix(), sha256=sha256(content))

    def append(self, record: Record) -> None:
        """Append one record durably; call within `writing`."""
        with self.lines.open("ab") as stream:
            stream.write(record.to_line().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _clear_unfinished(self) -> None:
        clear_partial(self.directory / "predictions")
        if not self.lines.exists():
            return
        content = self.lines.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            with self.lines.open("r+b") as stream:
                stream.truncate(end)
