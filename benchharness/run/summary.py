"""What a run did and what it found that must not be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.store import suspicion
from benchharness.store.cells import describe
from benchharness.store.evidence import checkpoint_of

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

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
    wanted = {checkpoint_of(cell) for cell in cells}
    records = {
        identity: record
        for identity, record in store.records().items()
        if identity in sound and checkpoint_of(record.cell) in wanted
    }
    found = suspicion.of_source(store, records.values())
    ours = (records[cell.identity] for cell in cells if cell.identity in sound)
    reasons = ((record, suspicion.of_record(record, found)) for record in ours)
    return tuple(f"{describe(record.cell)}: {reason}" for record, reason in reasons if reason)
