"""The paragraphs at the top of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings

TITLE = "Robustness report"

NOT_FOR_CLINICAL_USE = (
    "This is a research benchmark. The MedMNIST datasets are not intended for clinical use, and no "
    "number here means that a model may be used on patients."
)


def introduction(findings: Findings) -> tuple[str, ...]:
    """What the report covers, what it covers in part, and what it is not for."""
    counts = (
        f"Cells: {len(findings.rows)} ({len(findings.failed)} failed). "
        f"Models: {len(findings.models)}. Datasets: {len(findings.datasets)}."
    )
    return (counts, *caveats(findings))


def caveats(findings: Findings) -> tuple[str, ...]:
    """What the report covers in part, and what it is not for."""
    subsets = [
        f"{key.name} ({key.count} of {key.total} volumes)"
        for key in dict.fromkeys(row.record.cell.dataset for row in findings.rows)
        if key.count < key.total
    ]
    subset = f"Subsets, not whole test sets: {', '.join(subsets)}." if subsets else ""
    return tuple(text for text in (subset, NOT_FOR_CLINICAL_USE) if text)
