"""Transfer as a matrix: on which network volumes were made, and which network they fool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import conditions, grid
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import Line, Table, score_table
from benchharness.store.cells import TRANSFER_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings


def matrices(findings: Findings, dataset: str) -> Iterator[Table]:
    """One table for each severity: accuracy of each model on the volumes made on each."""
    wanted = conditions(findings, dataset, TRANSFER_FAMILY)
    for text in grid(wanted):
        sources = [condition for condition in wanted if condition.severity_text == text]
        lines = [
            Line(
                names=(subject.label,),
                fields=tuple(
                    scores.single(findings, subject, condition.label, "accuracy")
                    for condition in sources
                ),
            )
            for subject in subjects(findings, dataset)
        ]
        yield score_table(
            f"Transfer at {text} on {dataset}",
            ("Evaluated", *(condition.perturbation for condition in sources)),
            lines,
            caption="Accuracy of the row's model on volumes made on the column's. On the diagonal "
            f"the attacker has the model itself. {INTERVALS}",
            kinds=("transfer",),
        )
