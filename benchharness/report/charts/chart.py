"""Charts as data: what matplotlib draws for papers, Vega-Lite for the page, and CSV files hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from benchharness.report.cells.score import Score
    from benchharness.report.charts.looks import Look

Kind = Literal["dumbbell", "lines", "front", "steps", "reliability", "conditions"]
"""How a chart is drawn.

`dumbbell`: each model's clean score joined to its perturbed one. `lines`: scores over severities.
`front`: one score against another. `steps`: a share that falls at each volume. `reliability`:
accuracy over confidence. `conditions`: scores of every condition, one row each.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of a chart."""

    model: str
    x: float
    """Where it is on the horizontal axis, in the axis's units."""
    score: Score
    """What the vertical axis shows."""
    where: str
    """The condition in words, for a tooltip."""
    seed: int | None = None
    """The training seed that it is about; None for the mean over all."""
    clean: Score | None = None
    """The score that a dumbbell starts from."""
    along: Score | None = None
    """`x` with its interval, where that is a score too."""
    weight: float | None = None
    """Share of volumes behind a point of a reliability diagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A horizontal axis."""

    title: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    """Places and their labels; () leaves them to whoever draws."""


SHARES = ((0.0, "0"), (0.25, ""), (0.5, "0.5"), (0.75, ""), (1.0, "1"))
"""Ticks of a horizontal axis that shows a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    x: Axis
    y: str
    """What the vertical axis shows, in [0, 1]."""
    marks: tuple[Mark, ...]
    chance: float | None = None
    """What guessing reaches; None where it is not known."""
    diagonal: bool = False
    """Whether the line on which both axes agree is drawn."""
    front: tuple[tuple[float, float], ...] = ()
    """Points that no other beats, left to right."""

    @property
    def empty(self) -> bool:
        """Whether no point of it has a value."""
        return all(mark.score.value is None for mark in self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels under one title."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    kind: Kind
    looks: tuple[Look, ...]
    """The models of the legend."""
    panels: tuple[Panel, ...]
    across: int
    """How many panels are side by side where the page is wide enough."""

    @property
    def shown(self) -> tuple[Panel, ...]:
        """The panels in which there is something to see."""
        return tuple(panel for panel in self.panels if not panel.empty)

    def frame(self) -> pd.DataFrame:
        """One line a point: `plots/NAME.csv`."""
        return pd.DataFrame(
            [_line(panel, mark) for panel in self.shown for mark in panel.marks], columns=_COLUMNS
        )


_COLUMNS = (
    "panel",
    "measure",
    "model",
    "seed",
    "condition",
    "x_title",
    "x",
    "x_low",
    "x_high",
    "value",
    "low",
    "high",
    "clean",
    "clean_low",
    "clean_high",
    "share_of_volumes",
    "suspect",
    "gap",
)


def _line(panel: Panel, mark: Mark) -> dict[str, Any]:
    return {
        "panel": panel.title,
        "measure": panel.y,
        "model": mark.model,
        "seed": mark.seed,
        "condition": mark.where,
        "x_title": panel.x.title,
        "x": mark.x,
        "x_low": mark.along.low if mark.along else None,
        "x_high": mark.along.high if mark.along else None,
        "value": mark.score.value,
        "low": mark.score.low,
        "high": mark.score.high,
        "clean": mark.clean.value if mark.clean else None,
        "clean_low": mark.clean.low if mark.clean else None,
        "clean_high": mark.clean.high if mark.clean else None,
        "share_of_volumes": mark.weight,
        "suspect": mark.score.suspect or None,
        "gap": mark.score.gap or None,
    }
