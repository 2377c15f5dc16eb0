"""How a model looks: one colour and one marker, in every figure and chart of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings

# Okabe & Ito (2008), Color Universal Design, without black (the axes) and yellow. Orange and sky
# blue are darker than theirs: each colour has a contrast of 3 on white and on the page's dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A67C00", "#2E9BD6")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Six colours and seven markers have no common factor: 42 models differ in both together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a model appears."""

    model: str
    colour: str
    marker: str
    """As matplotlib names it."""


def look(findings: Findings, model: str) -> Look:
    """The look of a model: its place among the sorted names of the store."""
    return numbered(findings.models.index(model), model)


def numbered(place: int, name: str) -> Look:
    """The look of a place in any list, from 0; the first six differ in colour."""
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    return Look(model=name, colour=colour, marker=marker)
