"""Calibration, flips, sensitivity and specificity, each perturbation at its largest severity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS
from benchharness.report.scoring import clinical
from benchharness.report.scoring.conditions import UNPERTURBED, by_perturbation, conditions
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import Line, score_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.tables.layout import Table


def calibration(findings: Findings, dataset: str) -> Table:
    """Brier score, ECE, confident mistakes and flips, each perturbation at its largest severity."""
    lines = [
        Line(
            names=(label, row.condition),
            fields=tuple(clinical.calibration(findings, row).values()),
            about=_about(row),
        )
        for label, row in _at_largest_severity(findings, dataset)
    ]
    return score_table(
        f"Calibration and flips on {dataset}",
        ("Model", "Condition", *clinical.CALIBRATION.values()),
        lines,
        caption="Each perturbation at its largest severity; summary.csv has every cell. Confident "
        "and wrong: share of volumes misclassified with a probability of at least 0.9. Flip rate: "
        "share of volumes whose predicted class differs from that of the clean volume. "
        f"{INTERVALS} Those of the ECE cover less.",
        kinds=("calibration",),
    )


def sensitivity(findings: Findings, dataset: str) -> Table:
    """Sensitivity and specificity of every class at the threshold frozen on clean val volumes."""
    lines = [
        Line(
            names=(label, row.condition, found.label),
            fields=(found.threshold, found.sensitivity, found.specificity),
            about=_about(row),
        )
        for label, row in _at_largest_severity(findings, dataset)
        for found in clinical.by_class(findings, row)
    ]
    return score_table(
        f"Sensitivity and specificity on {dataset}",
        ("Model", "Condition", "Class", "Threshold", "Sensitivity", "Specificity"),
        lines,
        caption="Each perturbation at its largest severity. A class is called where its "
        "probability exceeds its threshold, which is frozen, as in a deployed device, at the "
        "largest Youden index on clean validation volumes. Of two classes only the second is "
        f"shown. {INTERVALS} They take the threshold as given.",
        kinds=("sensitivity",),
    )


def _about(row: Row) -> str:
    return "" if row.key.kind == "none" else row.perturbation


def _at_largest_severity(findings: Findings, dataset: str) -> Iterator[tuple[str, Row]]:
    """For every training the clean cell and each perturbation at its largest severity."""
    wanted = [UNPERTURBED]
    for family in findings.families(dataset):
        groups = by_perturbation(conditions(findings, dataset, family))
        wanted += [own[-1] for own in groups.values()]
    for subject in subjects(findings, dataset):
        for condition in wanted if len(subject.seeds) == 1 else ():
            row = findings.find(dataset, subject.model, subject.seeds[0], condition.label)
            if row is not None:
                yield subject.label, row
