"""Whether the numbers can be trusted: matrix checks and record checks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchharness.report.tables.layout import Table, text_table

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row


def certificates(findings: Findings) -> tuple[Table, ...]:
    """Tables of checks: matrix checks where attacks were run, record checks where any was made."""
    checked = [row for row in findings.rows if row.record.certificate]
    matrix = (_matrix(findings),) if findings.checks else ()
    return (*matrix, _records(checked)) if checked else ()


def _matrix(findings: Findings) -> Table:
    rows = {row.record.identity: row for row in (*findings.rows, *findings.controls)}
    lines = []
    for found in findings.checks:
        row, check = rows[found.of], found.check
        where = (row.model, row.dataset, row.seed)
        numbers = (
            None if number is None else f"{number:g}" for number in (check.value, check.bound)
        )
        lines.append((*where, check.name, check.verdict, *numbers, check.reason or None))
    return text_table(
        "Matrix checks",
        ("Model", "Dataset", "Training seed", "Check", "Verdict", "Value", "Bound", "Reason"),
        lines,
        caption="Each check compares cells of one checkpoint. Its value is the number of volumes "
        "by which the worst comparison came out the wrong way, negative where none did; at ε = 1 "
        "it is the accuracy. A failed check makes the cells that it concerns suspect.",
    )


def _records(checked: list[Row]) -> Table:
    verdicts = Counter(
        (check.name, check.verdict) for row in checked for check in row.record.certificate
    )
    names = dict.fromkeys(name for name, _ in verdicts)
    return text_table(
        "Record checks",
        ("Check", "Cells passed", "Failed", "Not applicable"),
        [
            (name, *(verdicts[name, verdict] for verdict in ("passed", "failed", "not applicable")))
            for name in names
        ],
        caption="Each check concerns one cell and is stored with it. Whether a network draws at "
        "random, depends on the batch, or changes its input or its state is checked once for each "
        "checkpoint and stored with its clean cell; what fails is stored with all its cells.",
    )
