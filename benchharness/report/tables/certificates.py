"""Whether the numbers can be trusted: matrix checks and record checks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.tables.layout import Entry, Line, Table, score_table, text_table
from benchharness.store.cells import describe_seed

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row


def certificates(findings: Findings) -> tuple[Table, ...]:
    """Tables of checks and controls; none where nothing was checked.

    Matrix checks are shown where attacks were run, record checks where any was made.
    """
    checked = [row for row in findings.rows if row.record.certificate]
    matrix = (_matrix(findings),) if findings.checks else ()
    checks = (*matrix, _records(checked)) if checked else ()
    return (*checks, _controls(findings)) if findings.controls else checks


def _controls(findings: Findings) -> Table:
    """What was measured as a control, beside the clean accuracy of the same checkpoint."""
    lines = []
    for row in findings.controls:
        clean = findings.clean(row)
        lines.append(
            Line(
                names=(row.model, row.dataset, describe_seed(row.seed), row.condition),
                fields=(
                    findings.cell_scores.single(row, "accuracy"),
                    Score() if clean is None else findings.cell_scores.single(clean, "accuracy"),
                ),
            )
        )
    return score_table(
        "Controls",
        ("Model", "Dataset", "Training seed", "Condition", "Accuracy", "Clean"),
        lines,
        caption="Controls show how far the attacks can be trusted. They are no results and enter "
        "no mean, rank, plot or comparison; what the probe broke counts in the worst case. "
        f"{INTERVALS}",
    )


def _matrix(findings: Findings) -> Table:
    rows = {row.record.identity: row for row in (*findings.rows, *findings.controls)}
    lines = []
    for found in findings.checks:
        row, check = rows[found.of], found.check
        where = (row.model, row.dataset, row.seed)
        numbers = map(_number, (check.value, check.bound))
        lines.append((*where, check.name, check.verdict, *numbers, check.reason or None))
    return text_table(
        "Matrix checks",
        ("Model", "Dataset", "Training seed", "Check", "Verdict", "Value", "Bound", "Reason"),
        lines,
        caption="Each check compares cells of one checkpoint. Its value is the number of volumes "
        "by which the worst comparison came out the wrong way, negative where none did; at ε = 1 "
        "it is the accuracy, and of the first step the share of volumes. A failed check makes the "
        "cells that it concerns suspect.",
        kinds=("checks",),
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
        kinds=("checks",),
    )


def _number(value: float | None) -> Entry | None:
    return None if value is None else Entry(text=f"{value:g}", order=value)
