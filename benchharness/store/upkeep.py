"""Upkeep of stores: check every hash and number, join several stores into one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.canonical import read_json
from benchharness.disk import file_sha256
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store.folder import Store
from benchharness.store.opening import open_source
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchharness.store.source import Source

_CLOSE = 1e-9
"""The last bits of recomputed metrics may differ on another processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` found."""

    records: int
    """Sound records, each identity counted once."""
    predictions: int
    """Files of predictions whose hash is right and whose metrics are those recorded."""
    checkpoints: int
    """Weights with the hash that their model card gives."""
    problems: tuple[str, ...]
    """Damage, one line each."""
    notes: tuple[str, ...]
    """What is no damage: superseded lines, files that no record names, weights kept elsewhere."""


def verify(path: Path) -> Verification:
    """Check every line, identity, hash and metric of a store or a baseline.

    Raises:
        BenchError: When there is neither, or a baseline is damaged; it is read whole or not at all.
    """
    source = open_source(path)
    problems: list[str] = []
    notes: list[str] = []
    store = source if isinstance(source, Store) else None
    records = source.records() if store is None else _records(store, problems, notes)
    damage = [
        found
        for record in records.values()
        if record.predictions is not None and (found := _check_predictions(source, record))
    ]
    problems += damage
    weights = 0
    if store is not None:
        notes += _unnamed(store, records)
        weights = _check_weights(store, problems, notes)
    return Verification(
        records=len(records),
        predictions=sum(r.predictions is not None for r in records.values()) - len(damage),
        checkpoints=weights,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _check_predictions(source: Source, record: Record) -> str:
    """What is wrong with a record's predictions or metrics; empty when both are sound."""
    try:
        found = source.predictions(record)
        values, _ = metrics.compute(found.labels, found.logits)
    except BenchError as error:
        return f"record {record.identity[:12]}: {error}"
    # A record may say that a metric would mislead although its predictions give one.
    values |= dict.fromkeys(record.undefined)
    wrong = [name for name in values if not _agrees(record.metrics.get(name), values[name])]
    if not wrong:
        return ""
    return f"record {record.identity[:12]}: {', '.join(wrong)} do not follow from its predictions."


def _agrees(stored: float | None, computed: float | None) -> bool:
    if stored is None or computed is None:
        return stored is computed
    return abs(stored - computed) <= _CLOSE


def _records(store: Store, problems: list[str], notes: list[str]) -> dict[str, Record]:
    """The records of a store, as `Store.records`, but skipping damaged lines."""
    try:
        content = store.lines.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read records {store.lines}: {error.strerror}.") from error
    *complete, rest = content.split(b"\n")
    if rest:
        notes.append("the last line was cut short by a kill; the next run clears it.")
    found: dict[str, Record] = {}
    for number, raw in enumerate(complete, start=1):
        try:
            record = Record.from_line(raw.decode())
        except (BenchError, UnicodeDecodeError) as error:
            problems.append(f"{store.lines}, line {number}: {error}")
            continue
        found[record.identity] = record
    superseded = len(complete) - len(found) - len(problems)
    if superseded:
        notes.append(f"{superseded} lines are superseded by later ones of the same identity.")
    return found


def _unnamed(store: Store, records: dict[str, Record]) -> Iterator[str]:
    named = {r.predictions.path for r in records.values() if r.predictions is not None}
    for path in sorted(store.directory.glob("predictions/*.npz")):
        if path.relative_to(store.directory).as_posix() not in named:
            yield f"{path} is named by no record."


def _check_weights(store: Store, problems: list[str], notes: list[str]) -> int:
    sound = 0
    for card in sorted(store.checkpoints.glob("*/*/model_card.json")):
        weights = card.with_name("model.safetensors")
        try:
            expected = read_json(card.read_bytes())["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"cannot read model card {card}: {' '.join(str(error).split())}.")
            continue
        if not weights.exists():
            notes.append(f"{card.parent} holds a model card without its weights.")
        elif file_sha256(weights) != expected:
            problems.append(f"{weights} is not the file that its model card names.")
        else:
            sound += 1
    return sound


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


def merge(sources: Sequence[Path], out: Path) -> Merged:
    """Join stores: every identity once, with its predictions, and every checkpoint.

    A measured cell replaces a failed one. Of two outcomes of one cell the first is kept and the
    other reported; what `out` already holds comes first.

    Args:
        sources: Folders of stores, or baselines; they are not changed.
        out: Folder of the joined store, which may exist already.

    Raises:
        BenchError: When a source cannot be read, or `out` cannot be written.
    """
    opened = [(path, open_source(path)) for path in sources]
    everything = [(path, source, source.records()) for path, source in opened]
    target = Store(out)
    target.records()  # A store that cannot be read is refused before it is locked.
    differing: list[str] = []
    added = 0
    with target.writing():
        held = target.records()
        for path, source, records in everything:
            for identity, record in records.items():
                known = held.get(identity)
                if known is not None and (known.status == "ok" or record.status != "ok"):
                    differing += _difference(known, record, path)
                    continue
                held[identity] = _add(target, source, record)
                added += known is None
        copied = sum(
            _copy_checkpoints(source, target, differing)
            for _, source in opened
            if isinstance(source, Store)
        )
    return Merged(records=len(held), added=added, checkpoints=copied, differing=tuple(differing))


def _add(target: Store, source: Source, record: Record) -> Record:
    if record.predictions is not None:
        stored = target.save_predictions(record.cell, source.predictions(record))
        record = replace(record, predictions=stored)
    target.append(record)
    return record


def _difference(known: Record, record: Record, path: Path) -> list[str]:
    """A line that says so if two measurements of one cell had different outcomes."""
    if known.status != record.status or known.metrics == record.metrics:
        return []
    place = f"{record.cell.model.name}, {record.cell.dataset.name}, {record.identity[:12]}"
    values = [one.metrics.get("accuracy") for one in (known, record)]
    return [f"{place}: accuracy {values[0]} is kept, {path} has {values[1]}."]


def _copy_checkpoints(source: Store, target: Store, differing: list[str]) -> int:
    """Copy the finished checkpoints that `target` lacks, and count them."""
    copied = 0
    for card in sorted(source.checkpoints.glob("*/*/model_card.json")):
        place = target.checkpoints / card.parent.relative_to(source.checkpoints)
        if (place / card.name).exists():
            if (place / card.name).read_bytes() != card.read_bytes():
                differing.append(f"{place} is kept, {card.parent} is another training of it.")
            continue
        place.mkdir(parents=True, exist_ok=True)
        # The card comes last, since it marks the checkpoint as finished.
        others = (path for path in sorted(card.parent.iterdir()) if path != card)
        for path in (*(path for path in others if path.is_file()), card):
            shutil.copy2(path, place / path.name)
        copied += 1
    return copied
