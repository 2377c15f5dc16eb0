"""Join several stores into one, whole or not at all.

Everything is written to a folder beside its place first, laid out as a store. A new store then
takes its name in one step. Into a store that exists already the files are moved one by one, and the
lines that name them come last, in one step.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness.disk import write_atomically
from benchharness.errors import BenchError
from benchharness.store import metadata, outlines, parity
from benchharness.store.cards import CARD
from benchharness.store.folder import STAGING, Store
from benchharness.store.opening import open_source
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchharness.store.outlines import Absent, Outline
    from benchharness.store.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What `merge` did."""

    records: int
    """Records in the joined store."""
    added: int
    """How many of them were added."""
    checkpoints: int
    """Checkpoints that were copied."""
    differing: tuple[str, ...]
    """Cells that two stores measured with different outcomes, one line each; the first is kept."""
    skipped: tuple[str, ...] = ()
    """Checkpoints that were not copied, one line each."""
    absent: tuple[Absent, ...] = ()
    """What plans in shares hold and the joined store does not, for each plan."""


def merge(sources: Sequence[Path], out: Path) -> Merged:
    """Join stores: every identity once, with its predictions, and all that lies beside them.

    These are checkpoints, passed checks, what is known of volumes, and outlines of plans in shares.
    A measured cell replaces a failed one. Of two outcomes of one cell the first is kept and the
    other reported; what `out` already holds comes first. Whatever goes wrong, `out` is as it was.

    Args:
        sources: Folders of stores, or baselines; they are not changed.
        out: Folder of the joined store, which may exist already.

    Raises:
        BenchError: When a source cannot be read, or `out` cannot be written.
    """
    opened = [(path, _opened(path)) for path in sources]
    for _, source in opened:
        source.records()  # A source that cannot be read is refused before anything is locked.
    target = Store(out)
    target.records()
    if out.exists():
        with target.writing():
            return _extended(opened, target)
    return _made(opened, target)


def _opened(path: Path) -> Source:
    """A source; it may be a share without a cell, or one of trainings alone."""
    try:
        return open_source(path)
    except BenchError:
        store = Store(path)
        with suppress(OSError):  # such as a name that is too long
            if any(outlines.files(path)) or any(store.checkpoints.glob(f"*/*/{CARD}")):
                return store
        raise


def _made(opened: Sequence[tuple[Path, Source]], target: Store) -> Merged:
    """Make a new store, which takes its name when it is whole."""
    out = Path(os.path.abspath(target.directory))  # noqa: PTH100  # a link at its place stays one
    staged = Store(out.with_name(f".{out.name}{STAGING}"))
    with (
        _speaking_of(target, staged),
        staged.writing(),
        _removed_after_faults(staged.directory),
    ):
        _empty(staged.directory)
        joined = _Joined(staged, {}, target)
        merged = joined.take(opened)
        write_atomically(staged.lines, b"".join(joined.lines.values()))
        staged.directory.replace(out)
    return merged


def _extended(opened: Sequence[tuple[Path, Source]], target: Store) -> Merged:
    """Add to a store that exists, whose lock is held."""
    staged = Store(target.directory / STAGING)
    with _speaking_of(target, staged), _removed_after_faults(staged.directory):
        (staged.directory / "predictions").mkdir(parents=True)
        joined = _Joined(staged, target.records(), target)
        merged = joined.take(opened)
        before = target.lines.read_bytes() if target.lines.exists() else b""
        write_atomically(staged.lines, before + b"".join(joined.lines.values()))
        # The disk has room for everything now; what follows only gives names.
        _move(staged, target, lines=bool(joined.lines))
        shutil.rmtree(staged.directory)
    return merged


def _move(staged: Store, target: Store, *, lines: bool) -> None:
    """Move the files of a staging folder to their places, those that name others last."""
    moved: list[Path] = []
    files = [*sorted(staged.directory.glob("predictions/*")), *staged.checkpoints.glob("*/*")]
    files += _beside(staged.directory)
    try:
        for path in files:
            place = target.directory / path.relative_to(staged.directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():  # Left by a training that was killed: it has no card.
                shutil.rmtree(place)
            path.replace(place)
            moved.append(place)
        if lines:
            staged.lines.replace(target.lines)
    except BaseException:
        for place in moved:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        raise


@contextmanager
def _removed_after_faults(staging: Path) -> Iterator[None]:
    """Remove a staging folder, whose lock is held, if anything is raised."""
    try:
        yield
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def _speaking_of(target: Store, staged: Store) -> Iterator[None]:
    """Make every fault one line about the folder that was meant."""
    try:
        yield
    except OSError as error:
        where = target.directory if error.filename is None else error.filename
        raise BenchError(
            f"cannot merge into {target.directory}: {where}: {error.strerror}. Nothing was "
            "merged: mend that and run the same command again."
        ) from error
    except BenchError as error:
        text = str(error).replace(str(staged.directory), str(target.directory))
        raise BenchError(text) from error


def _empty(directory: Path) -> None:
    """Remove what a killed merge left in a staging folder whose lock is held."""
    for path in directory.iterdir():
        if path.is_dir() and path.name != "predictions":
            shutil.rmtree(path)
        elif path.is_file() and path.name != ".lock":
            path.unlink()
    for path in directory.glob("predictions/*"):
        path.unlink()


class _Joined:
    """What the sources add to a store, with its files in a staging folder.

    Args:
        staged: Where files are written.
        held: The records that are there already.
        target: The store that all will belong to.
    """

    def __init__(self, staged: Store, held: Mapping[str, Record], target: Store) -> None:
        self.staged, self.held, self.target = staged, held, target
        self.lines: dict[str, bytes] = {}
        """What is added, by identity."""
        self.plans: dict[str, Outline] = {}
        """Of which the stores are shares, by the names of their files."""
        self.keys: set[str] = set()
        """What outlines call the cells of the sources."""
        self.differing: list[str] = []
        self.skipped: list[str] = []

    def take(self, opened: Sequence[tuple[Path, Source]]) -> Merged:
        """Take the records, predictions and checkpoints of every source."""
        stores = [source for _, source in opened if isinstance(source, Store)]
        self.plans = {
            path.name: outlines.read(path)
            for store in (self.target, *stores)
            for path in outlines.files(store.directory)
        }
        for path, source in opened:
            for identity, record in source.records().items():
                self._take(identity, record, path, source)
        copied = sum(map(self._copy_checkpoints, stores))
        for store in stores:
            self._copy_beside(store)
        new = self.lines.keys() - self.held.keys()
        return Merged(
            records=len(self.held) + len(new),
            added=len(new),
            checkpoints=copied,
            differing=tuple(self.differing),
            skipped=tuple(self.skipped),
            absent=self._absent(),
        )

    def _absent(self) -> tuple[Absent, ...]:
        """What plans in shares hold and none of the stores does."""
        if not self.plans:
            return ()
        present = {outlines.key_of(record.cell) for record in self.held.values()} | self.keys
        for store in (self.target, self.staged):
            cards = store.checkpoints.glob(f"*/*/{CARD}")
            present |= {outlines.key_of_training(card.parent) for card in cards}
        absent = (outlines.absent(plan, present) for plan in self.plans.values())
        return tuple(one for one in absent if one is not None)

    def _take(self, identity: str, record: Record, path: Path, source: Source) -> None:
        if self.plans:
            self.keys.add(outlines.key_of(record.cell))
        line = self.lines.get(identity)
        known = self.held.get(identity) if line is None else Record.from_line(line.decode())
        if known is not None and (known.status == "ok" or record.status != "ok"):
            self.differing += _difference(known, record, path)
            return
        if record.predictions is not None:
            stored = self.staged.save_predictions(record.cell, source.predictions(record))
            record = replace(record, predictions=stored)
        self.lines[identity] = record.to_line().encode() + b"\n"

    def _copy_beside(self, source: Store) -> None:
        """Copy small files beside the records that the target has none of."""
        for path in _beside(source.directory):
            relative = path.relative_to(source.directory)
            places = [store.directory / relative for store in (self.target, self.staged)]
            if not any(place.exists() for place in places):
                place = self.staged.directory / relative
                place.parent.mkdir(exist_ok=True)
                write_atomically(place, path.read_bytes())

    def _copy_checkpoints(self, source: Store) -> int:
        """Copy the finished checkpoints that the target lacks, and count them."""
        copied = 0
        for card in sorted(source.checkpoints.glob(f"*/*/{CARD}")):
            relative = card.parent.relative_to(source.checkpoints)
            places = [store.checkpoints / relative for store in (self.target, self.staged)]
            known = next((place for place in places if (place / CARD).exists()), None)
            if known is not None:
                if (known / CARD).read_bytes() != card.read_bytes():
                    place = places[0]
                    self.differing.append(
                        f"{place} is kept, {card.parent} is another training of it."
                    )
            elif outside := _outside(source, card.parent) or _outside(self.target, places[0]):
                self.skipped.append(
                    f"{card.parent} was not copied: {outside} leads out of its store."
                )
            else:
                _copy(card.parent, places[1])
                copied += 1
        return copied


def _beside(directory: Path) -> Iterator[Path]:
    """The files of a store that lie beside its records: their names say what they are about."""
    for kind in (metadata, parity, outlines):
        yield from kind.files(directory)


def _difference(known: Record, record: Record, path: Path) -> list[str]:
    """A line that says so if two measurements of one cell had different outcomes."""
    if known.status != record.status or known.metrics == record.metrics:
        return []
    place = f"{record.cell.model.name}, {record.cell.dataset.name}, {record.identity[:12]}"
    values = [one.metrics.get("accuracy") for one in (known, record)]
    return [f"{place}: accuracy {values[0]} is kept, {path} has {values[1]}."]


def _outside(store: Store, folder: Path) -> Path | None:
    """What in a checkpoint's folder, or on the way to it, is a link out of its store."""
    root = store.directory.resolve()
    found = [folder, *sorted(folder.iterdir())] if folder.is_dir() else [folder]
    return next((path for path in found if not path.resolve().is_relative_to(root)), None)


def _copy(checkpoint: Path, place: Path) -> None:
    place.mkdir(parents=True)
    for path in sorted(checkpoint.iterdir()):
        if path.is_file():
            shutil.copy2(path, place / path.name)
            with (place / path.name).open("rb") as stream:
                os.fsync(stream.fileno())
