"""What is inside a panel of a figure, for each kind of chart."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator, NullLocator

from benchharness.outside.escaping import one_line
from benchharness.report.plots.spacing import place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.score import Score
    from benchharness.report.plots.chart import Chart, Kind, Mark, Panel
    from benchharness.report.plots.looks import Look

_GUIDE = "#999999"


def draw(axes: Axes, chart: Chart, panel: Panel) -> None:
    """Draw a panel with its title and its axes."""
    lying = chart.kind == "conditions"
    _guides(axes, panel, lying=lying)
    for own in chart.looks:
        marks = [mark for mark in panel.marks if mark.model == own.model]
        _DRAWN[chart.kind](axes, chart, panel, own, marks)
    if panel.title:
        axes.set_title(one_line(panel.title), wrap=True)
    _axis(axes, panel, lying=lying)


def _guides(axes: Axes, panel: Panel, *, lying: bool) -> None:
    """The chance line, the diagonal and the front, behind everything."""
    if panel.chance is not None:
        line = axes.axvline if lying else axes.axhline
        line(panel.chance, color=_GUIDE, linewidth=1.0, linestyle=":", zorder=0)
    if panel.diagonal:
        axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=0.8, linestyle="--", zorder=0)
    if panel.front:
        places, values = zip(*panel.front, strict=True)
        axes.step(places, values, where="pre", color=_GUIDE, linewidth=1.0, zorder=0)


def _axis(axes: Axes, panel: Panel, *, lying: bool) -> None:
    if lying:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(panel.x.high, panel.x.low)
        axes.set_yticks(*zip(*((at, one_line(text)) for at, text in panel.x.ticks), strict=True))
        axes.set_xlabel(panel.y)
        return
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel(panel.y)
    axes.set_xlabel(panel.x.title)
    if panel.x.log:
        axes.set_xscale("log")
    if panel.x.ticks:
        axes.set_xticks(*zip(*panel.x.ticks, strict=True))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(panel.x.low, panel.x.high)


def _dumbbell(
    axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]
) -> None:
    for mark in marks:
        if mark.score.value is None:
            continue
        at = place(chart, panel, mark)
        if mark.seed is not None:
            axes.plot(at, mark.score.value, color=own.colour, marker=".", alpha=0.5)
            continue
        if mark.clean is not None and mark.clean.value is not None:
            ends = [mark.clean.value, mark.score.value]
            axes.plot([at, at], ends, color=own.colour, linewidth=2.4, alpha=0.35)
            axes.plot(at, mark.clean.value, color=own.colour, marker="_", markersize=9)
        _point(axes, own, at, mark.score)


def _lines(axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]) -> None:
    for seed, group in groupby(marks, key=lambda mark: mark.seed):
        points = list(group)
        places = [place(chart, panel, mark) for mark in points]
        values = [_filled(mark.score.value) for mark in points]
        if seed is not None:
            axes.plot(places, values, color=own.colour, linewidth=0.7, alpha=0.4)
            continue
        axes.plot(places, values, color=own.colour)
        for at, mark in zip(places, points, strict=True):
            _point(axes, own, at, mark.score)


def _front(axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]) -> None:
    for mark in marks:
        _point(axes, own, mark.x, mark.score, along=mark.along)


def _steps(axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]) -> None:
    for _, group in groupby(marks, key=lambda mark: mark.seed):
        points = list(group)
        values = [_filled(mark.score.value) for mark in points]
        axes.step([mark.x for mark in points], values, where="post", color=own.colour)


def _reliability(
    axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]
) -> None:
    values = [_filled(mark.score.value) for mark in marks]
    axes.plot([mark.x for mark in marks], values, color=own.colour, linewidth=0.8, alpha=0.6)
    for mark in marks:
        _point(axes, own, mark.x, mark.score, scale=0.5 + (mark.weight or 0.0) ** 0.5)


def _conditions(
    axes: Axes, chart: Chart, panel: Panel, own: Look, marks: Sequence[Mark]
) -> None:
    for mark in marks:
        _point(axes, own, place(chart, panel, mark), mark.score, lying=True)


_DRAWN: dict[Kind, Callable[[Axes, Chart, Panel, Look, Sequence[Mark]], None]] = {
    "dumbbell": _dumbbell,
    "lines": _lines,
    "front": _front,
    "steps": _steps,
    "reliability": _reliability,
    "conditions": _conditions,
}


def _point(
    axes: Axes,
    own: Look,
    at: float,
    score: Score,
    *,
    along: Score | None = None,
    lying: bool = False,
    scale: float = 1.0,
) -> None:
    """Draw a score with its interval; a suspect one is hollow, and none without a value."""
    if score.value is None:
        return
    bars, others = _bars(score), None if along is None else _bars(along)
    axes.errorbar(
        [score.value if lying else at],
        [at if lying else score.value],
        xerr=bars if lying else others,
        yerr=others if lying else bars,
        color=own.colour,
        marker=own.marker,
        markerfacecolor="white" if score.suspect else own.colour,
        markersize=scale * float(mpl.rcParams["lines.markersize"]),
        elinewidth=1.0,
        capsize=2.0,
    )


    return float(mpl.rcParams["lines.markersize"])


def _bars(score: Score) -> list[list[float]] | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    # Rounding may leave an end of an interval beyond its number by the last bit.
    return [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]


def _filled(value: float | None) -> float:
    """A value as matplotlib takes it: NaN leaves a gap."""
    return float("nan") if value is None else value
