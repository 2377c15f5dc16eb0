"""What a run did and what it found that must not be trusted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.store import suspicion
from benchharness.store.cells import describe

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from benchharness.store.cells import Cell
    from benchharness.store.folder import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did."""

    evaluated: int
    """Cells measured now."""
    recorded: int
    """Cells of the plan that were recorded before."""
    trained: int
    """Checkpoints trained now."""
    failures: tuple[str, ...]
    """One line for each cell or training that failed."""
    skipped: int = 0
    """Cells that were not started because `stop` said so."""
    identities: tuple[str, ...] = ()
    """The cells of the plan as their records name them; without those of skipped trainings."""
    suspects: tuple[str, ...] = ()
    """One line for each cell of the plan whose number must not be trusted, and why."""
    controls: int = 0
    """How many of `evaluated` are controls."""
    control_seconds: float = 0.0
    """What these took."""
    seconds: float = 0.0
    """What all of `evaluated` took."""


def suspects(store: Store, cells: Sequence[Cell], sound: Container[str]) -> tuple[str, ...]:
    """What record checks and matrix checks say of recorded cells, a line for each suspect one.

    Args:
        store: Where they are recorded.
        cells: Those of which something is said, checked beside all others of their checkpoints.
        sound: Identities of the records whose predictions can be read.
    """
    asked = {cell.identity: cell for cell in cells if cell.identity in sound}
    lines: dict[str, str] = {}
    # One checkpoint after the other, so that memory does not grow with the store.
    groups: dict[str, list[str]] = defaultdict(list)
    for identity, entry in store.entries().items():
        if identity in sound:
            groups[entry.checkpoint].append(identity)
    for members in groups.values():
        if not asked.keys().isdisjoint(members):
            lines |= _doubted(store, members, asked)
    return tuple(lines[identity] for identity in asked if identity in lines)


def _doubted(
    store: Store, identities: Iterable[str], asked: Container[str]
) -> Iterator[tuple[str, str]]:
    """What is said of records of one checkpoint that are asked for, by identity."""
    records = tuple(store.records_of(identities).values())
    found = suspicion.of_source(store, records)
    for record in records:
        reason = suspicion.of_record(record, found)
        if reason and record.identity in asked:
            yield record.identity, f"{describe(record.cell)}: {reason}"
