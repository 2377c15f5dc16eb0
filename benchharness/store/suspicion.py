"""Why numbers must not be trusted: failed matrix checks by cell, and a record's own doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.evidence import checkpoint_of
from benchharness.store.matrix_checks import matrix_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchharness.store.cells import Cell
    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.records import Record
    from benchharness.store.source import Source

    Suspicions = Mapping[str, tuple[str, ...]]
    """Why numbers must not be trusted beyond what their records say, by a cell's identity."""


def by_cell(checks: Iterable[MatrixCheck]) -> Suspicions:
    """The reasons in words for every cell that some check makes suspect."""
    reasons: dict[str, tuple[str, ...]] = {}
    for found in checks:
        for identity in found.cells:
            reason = f"{found.check.name}: {found.check.reason}"
            reasons[identity] = (*reasons.get(identity, ()), reason)
    return reasons


def of_source(source: Source, cells: Iterable[Cell] | None = None) -> Suspicions:
    """`by_cell` of everything that a store or a baseline holds.

    Args:
        source: The store or the baseline.
        cells: If given, only checkpoints of these cells are looked at.
    """
    wanted = None if cells is None else {checkpoint_of(cell) for cell in cells}
    records = [
        record
        for record in source.records().values()
        if wanted is None or checkpoint_of(record.cell) in wanted
    ]
    predictions = {r.identity: source.predictions(r) for r in records if r.predictions is not None}
    return by_cell(matrix_checks(records, predictions))


def joined(*found: Suspicions) -> Suspicions:
    """Several results of `by_cell` as one, in which a cell has every reason once."""
    identities = dict.fromkeys(identity for one in found for identity in one)
    return {
        identity: tuple(dict.fromkeys(why for one in found for why in one.get(identity, ())))
        for identity in identities
    }


def of_record(record: Record, suspicions: Suspicions) -> str:
    """Every reason not to trust a number: failed record and matrix checks; empty without any."""
    return "; ".join((*record.doubts, *suspicions.get(record.identity, ())))
