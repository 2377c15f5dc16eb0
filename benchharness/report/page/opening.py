"""The first screen of the page, and the data behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchharness.report.page import summary, volumes
from benchharness.report.page.matrix import Matrix, matrix
from benchharness.report.page.payload import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.page.volumes import Wanted


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
    volumes: Callable[[int], dict[str, Any]]
    """Gives the volumes that fit into a number of bytes, for the key `volumes`."""


def opening(findings: Findings, wanted: Wanted, reasons: Sequence[str] = ()) -> Opening:
    """Make the first screen of a store's page.

    Args:
        findings: The store.
        wanted: The volumes to show, from `volumes.wanted`.
        reasons: Why some could not be drawn, a sentence each.
    """
    made = matrix(findings)
    places = {row.record.identity: place for place, row in enumerate(made.rows)}
    return Opening(
        sentence=summary.sentence(findings),
        verdict=summary.verdict(findings),
        matrix=made,
        data=payload(findings, made),
        volumes=partial(volumes.payload, findings, wanted, places, reasons),
    )
