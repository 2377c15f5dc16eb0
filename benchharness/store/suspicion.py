"""Suspect numbers: what failed matrix checks say of single cells, by identity and in words.

`Record.doubts` has what the record's own checks say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.matrix_checks import matrix_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.source import Source

    Suspicions = dict[str, tuple[str, ...]]
    """The reasons against a cell's numbers, by its identity."""


def by_cell(checks: Iterable[MatrixCheck]) -> Suspicions:
    """Why some matrix check makes a cell suspect, for every such cell."""
    reasons: Suspicions = {}
    for found in checks:
        for identity in found.cells:
            reason = f"{found.check.name}: {found.check.reason}"
            reasons[identity] = (*reasons.get(identity, ()), reason)
    return reasons


def of_source(source: Source) -> Suspicions:
    """`by_cell` of everything that a store or a baseline holds."""
    records = source.records().values()
    predictions = {r.identity: source.predictions(r) for r in records if r.predictions is not None}
    return by_cell(matrix_checks(records, predictions))


def joined(*found: Mapping[str, tuple[str, ...]]) -> Suspicions:
    """Several results of `by_cell` as one: a cell keeps every reason once."""
    identities = dict.fromkeys(identity for one in found for identity in one)
    return {
        identity: tuple(dict.fromkeys(why for one in found for why in one.get(identity, ())))
        for identity in identities
    }
