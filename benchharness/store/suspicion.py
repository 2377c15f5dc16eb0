"""Why numbers must not be trusted: failed matrix checks by cell, and a record's own doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.matrix_checks import matrix_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def of_source(source: Source, records: Iterable[Record] | None = None) -> Suspicions:
    """`by_cell` of everything that a store or a baseline holds, or of some of its records."""
    chosen = tuple(source.records().values() if records is None else records)
    predictions = {r.identity: source.predictions(r) for r in chosen if r.predictions is not None}
    return by_cell(matrix_checks(chosen, predictions))


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
