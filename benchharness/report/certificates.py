"""Whether the attacks' numbers can be trusted: matrix checks, controls and record checks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchharness.report.layout import DASH, Table, text_table

if TYPE_CHECKING:
    from benchharness.report.collect import Findings, Row


def certificates(findings: Findings) -> tuple[Table, ...]:
    """Tables of checks; none where nothing was attacked."""
    attacked = [row for row in findings.rows if row.record.certificate]
    if not attacked:
        return ()
    return (_matrix(findings), _records(attacked))


def _matrix(findings: Findings) -> Table:
    rows = {row.record.identity: row for row in (*findings.rows, *findings.controls)}
    lines = []
    for found in findings.checks:
        row, check = rows[found.of], found.check
        value = DASH if check.value is None else f"{check.value:g}"
        bound = DASH if check.bound is None else f"{check.bound:g}"
        where = (row.model, row.dataset, row.seed)
        lines.append((*where, check.name, check.verdict, value, bound, check.reason or None))
    return text_table(
        "Matrix checks",
        ("Model", "Dataset", "Training seed", "Check", "Verdict", "Value", "Bound", "Reason"),
        lines,
        caption="Cells of one checkpoint compared. A value says by how many volumes the worst "
        "comparison came out the wrong way, negative where none did, and at ε = 1 it is the "
        "accuracy. A failed check makes the cells that it concerns suspect.",
    )


def _records(attacked: list[Row]) -> Table:
    verdicts = Counter(
        (check.name, check.verdict) for row in attacked for check in row.record.certificate
    )
    names = dict.fromkeys(name for name, _ in verdicts)
    return text_table(
        "Record checks",
        ("Check", "Cells passed", "Failed", "Not applicable"),
        [
            (name, *(verdicts[name, verdict] for verdict in ("passed", "failed", "not applicable")))
            for name in names
        ],
        caption="Each concerns one cell and is stored with it.",
    )
