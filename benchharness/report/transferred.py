"""Transfer as a matrix: on which network volumes were made, and which was fooled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report import scores
from benchharness.report.layout import Line, Table, score_table
from benchharness.store.cells import TRANSFER_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.collect import Findings


def matrices(findings: Findings, dataset: str) -> Iterator[Table]:
    """One table a severity: accuracy of each model on the volumes made on each."""
    conditions = scores.conditions(findings, dataset, TRANSFER_FAMILY)
    for text in dict.fromkeys(condition.severity_text for condition in conditions):
        sources = [condition for condition in conditions if condition.severity_text == text]
        lines = [
            Line(
                names=(subject.label,),
                fields=tuple(
                    scores.single(findings, subject, condition.label, "accuracy")
                    for condition in sources
                ),
            )
            for subject in scores.subjects(findings, dataset)
        ]
        yield score_table(
            f"Transfer at {text} on {dataset}",
            ("Judged", *(condition.perturbation for condition in sources)),
            lines,
            caption="Accuracy of the model of the row on volumes made on that of the column. On "
            "the diagonal the attacker has the model itself. Brackets hold 95 % intervals.",
        )
