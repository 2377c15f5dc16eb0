"""Cascades such as `autoattack3d`: which of their parts did the work.

A cascade runs its parts in turn, each on the volumes that the parts before it did not break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.scoring.subjects import together
from benchharness.report.tables.layout import Table, text_table
from benchharness.store.predictions import BROKEN_BY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row


def tables(findings: Findings, dataset: str, family: str) -> Iterator[Table]:
    """One table for each list of parts that was run in a family of attacks."""
    rows = [row for row in findings.of(dataset) if row.family == family and _is_cascade(row)]
    for parts in dict.fromkeys(_parts(row) for row in rows):
        own = [row for row in rows if _parts(row) == parts]
        yield text_table(
            f"What each part of a cascade broke on {dataset}, {findings.title(family)}",
            ("Model", "Cascade", "Protocol", "Wrong when clean", *parts, "Unbroken"),
            [
                (_label(findings, row), row.condition, _protocol(row), *_counts(row, len(parts)))
                for row in own
            ],
            caption="Numbers of volumes. Each part attacks the volumes that the parts to its left "
            "did not break. Only the protocols called standard and rand are AutoAttack's; "
            "(altered) means that a number of iterations or queries is not the protocol's own.",
            wordy=False,
            kinds=("cascades", family),
            about=tuple(row.perturbation for row in own),
        )


def _label(findings: Findings, row: Row) -> str:
    return together(findings, row.dataset, row.model).named(row.seed)


def _is_cascade(row: Row) -> bool:
    return bool(_parts(row)) and row.predictions is not None and BROKEN_BY in row.predictions.extra


def _parts(row: Row) -> tuple[str, ...]:
    return tuple(part["name"] for part in row.record.facts.get("parts", ()))


def _protocol(row: Row) -> str | None:
    found = dict(row.key.parameters).get("protocol")
    return None if found is None else str(found)


def _counts(row: Row, parts: int) -> tuple[int, ...]:
    assert row.predictions is not None
    broken_by = row.predictions.extra[BROKEN_BY].astype(np.int64)
    return tuple(int((broken_by == place).sum()) for place in (*range(parts + 1), -1))
