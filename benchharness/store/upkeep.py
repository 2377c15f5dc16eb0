"""Upkeep of a store: check every line, hash, number and model card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.disk import file_sha256, leads_out
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store import cards
from benchharness.store.cells import CLEAN
from benchharness.store.folder import Store
from benchharness.store.opening import open_source
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchharness.store.cards import ModelCard
    from benchharness.store.source import Source

_CLOSE = 1e-9
"""The last bits of recomputed metrics may differ on another processor."""
_NEAR = 0.02
"""By how much a card's metrics may differ from a run's: two devices, or batches, give two logits.

At least the answers on two volumes may differ.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` found."""

    records: int
    """Sound records, each identity counted once."""
    predictions: int
    """Files of predictions whose hash is right and whose metrics are those recorded."""
    checkpoints: int
    """Weights in their own folder, with a model card that is theirs."""
    problems: tuple[str, ...]
    """Damage, one line each."""
    notes: tuple[str, ...]
    """What is no damage: superseded lines, files that no record names, weights kept elsewhere."""


def verify(path: Path) -> Verification:
    """Check every line, identity, hash, metric and model card of a store or a baseline.

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
        weights = _check_cards(store, records, problems, notes)
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


def _unnamed(store: Store, records: Mapping[str, Record]) -> Iterator[str]:
    named = {r.predictions.path for r in records.values() if r.predictions is not None}
    for path in sorted(store.directory.glob("predictions/*.npz")):
        if path.relative_to(store.directory).as_posix() not in named:
            yield f"{path} is named by no record."


def _check_cards(
    store: Store, records: Mapping[str, Record], problems: list[str], notes: list[str]
) -> int:
    """Check every model card against its folder, its weights and the records of these weights."""
    sound = 0
    for path in sorted(store.checkpoints.glob(f"*/*/{cards.CARD}")):
        folder = path.parent
        weights = folder / cards.WEIGHTS
        if any(leads_out(part, store.directory) for part in (path, weights)):
            problems.append(f"{folder} leads out of the store through a link.")
            continue
        try:
            card = cards.parse(path)
        except BenchError as error:
            problems.append(str(error))
            continue
        weights = folder / cards.WEIGHTS
        faults = []
        if wrong := cards.fault(card, folder):
            faults.append(f"{path} is not that of its folder: {wrong}.")
        if weights.is_file() and file_sha256(weights) != card.sha256:
            faults.append(f"{weights} is not the file that its model card names.")
        if not faults:
            faults += dict.fromkeys(_against_records(path, card, store, records))
        problems += faults
        if not weights.is_file():
            notes.append(f"{folder} holds a model card without its weights.")
        elif not faults:
            sound += 1
    return sound


def _against_records(
    path: Path, card: ModelCard, store: Store, records: Mapping[str, Record]
) -> Iterator[str]:
    """What records of the same weights, trained here, say otherwise than a card."""
    for record in records.values():
        cell = record.cell
        training = cell.checkpoint
        if training.sha256 != card.sha256 or training.recipe is None or training.seed is None:
            continue
        model, digest = replace(cell.model, name=card.model), cell.dataset.digest
        if cards.folder(model, card.dataset, digest, training.recipe, training.seed) != card.folder:
            yield f"{path} and the records of its weights tell of two trainings."
        if cell.perturbation == CLEAN and record.predictions is not None and not record.suspect:
            yield from _against_clean(path, card, store, record)


def _against_clean(path: Path, card: ModelCard, store: Store, record: Record) -> Iterator[str]:
    """What the clean cell of a card's weights says otherwise."""
    try:
        classes = store.predictions(record).logits.shape[1]
    except BenchError:
        return  # Named already.
    if classes != card.num_classes:
        yield f"{path} has {card.num_classes} classes, the predictions of its weights {classes}."
    count = record.cell.dataset.count
    if count < record.cell.dataset.total:
        return
    for name, value in card.test_metrics.items():
        measured = record.metrics.get(name)
        near = max(_NEAR, 2 / count)
        if value is not None and measured is not None and abs(value - measured) > near:
            yield f"{path} has {name} {value:.4f}, the record of its clean cell {measured:.4f}."
