"""The first screen of the page, and the data behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.report.page import summary
from benchharness.report.page.matrix import Matrix, matrix
from benchharness.report.page.payload import payload

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the page opens with."""

    sentence: str
    """What was run."""
    verdict: tuple[summary.Finding, ...]
    """What came of it, most important first."""
    matrix: Matrix
    data: dict[str, Any]
    """`window.bench`; sections may add keys of their own before it is written."""


def opening(findings: Findings) -> Opening:
    """Make the first screen of a store's page."""
    made = matrix(findings)
    return Opening(
        sentence=summary.sentence(findings),
        verdict=summary.verdict(findings),
        matrix=made,
        data=payload(findings, made),
    )
