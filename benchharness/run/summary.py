"""What a run did and what it found that must not be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.store import suspicion
from benchharness.store.cells import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def suspects(store: Store, cells: Sequence[Cell]) -> tuple[str, ...]:
    """What record checks and matrix checks say of recorded cells, a line for each suspect one."""
    records = store.records()
    found = suspicion.of_source(store, cells)
    reasons = ((cell, suspicion.of_record(records[cell.identity], found)) for cell in cells)
    return tuple(f"{describe(cell)}: {reason}" for cell, reason in reasons if reason)
