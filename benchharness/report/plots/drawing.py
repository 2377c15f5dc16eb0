"""What is inside a panel of a figure, for each kind of chart."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator, NullLocator

from benchharness.outside.escaping import one_line
from benchharness.report.plots import points
from benchharness.report.plots.points import Placed
from benchharness.report.plots.spacing import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.charts.chart import Chart, Kind, Mark, Panel
    from benchharness.report.charts.looks import Look

_GUIDE = "#999999"


def draw(axes: Axes, chart: Chart, panel: Panel) -> None:
    """Draw a panel with its title and its axes."""
    lying = chart.kind == "conditions"
    _guides(axes, panel, lying=lying)
    looks = {own.model: own for own in chart.looks}
    order = list(looks)
    marks = sorted(panel.marks, key=lambda mark: order.index(mark.model))
    _DRAWN[chart.kind](
        axes, [Placed(looks[mark.model], place(chart, panel, mark), mark) for mark in marks]
    )
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


def _dumbbell(axes: Axes, placed: Sequence[Placed]) -> None:
    whole = [one for one in placed if one.mark.seed is None]
    points.seeds(axes, [one for one in placed if one.mark.seed is not None])
    points.joins(axes, whole)
    points.scores(axes, whole)


def _lines(axes: Axes, placed: Sequence[Placed]) -> None:
    for own, seed, places, values in _curves(placed):
        if seed is None:
            axes.plot(places, values, color=own.colour)
        else:
            axes.plot(places, values, color=own.colour, linewidth=0.7, alpha=0.4)
    points.scores(axes, [one for one in placed if one.mark.seed is None])


def _front(axes: Axes, placed: Sequence[Placed]) -> None:
    points.scores(axes, placed)


def _steps(axes: Axes, placed: Sequence[Placed]) -> None:
    for own, _, places, values in _curves(placed):
        axes.step(places, values, where="post", color=own.colour)


def _reliability(axes: Axes, placed: Sequence[Placed]) -> None:
    for own, _, places, values in _curves(placed):
        axes.plot(places, values, color=own.colour, linewidth=0.8, alpha=0.6)
    points.scores(axes, placed, sized=_by_weight)


def _by_weight(mark: Mark) -> float:
    return points.size() * (0.5 + float((mark.weight or 0.0) ** 0.5))


def _conditions(axes: Axes, placed: Sequence[Placed]) -> None:
    points.scores(axes, placed, lying=True)


_DRAWN: dict[Kind, Callable[[Axes, Sequence[Placed]], None]] = {
    "dumbbell": _dumbbell,
    "lines": _lines,
    "front": _front,
    "steps": _steps,
    "reliability": _reliability,
    "conditions": _conditions,
}


def _curves(
    placed: Sequence[Placed],
) -> Iterator[tuple[Look, int | None, list[float], list[float]]]:
    """The look, the training seed, the places and the values of each curve; NaN is a gap."""
    for (_, seed), group in groupby(placed, key=lambda one: (one.mark.model, one.mark.seed)):
        own = list(group)
        values = [one.mark.score.value for one in own]
        filled = [float("nan") if value is None else value for value in values]
        yield own[0].own, seed, [one.at for one in own], filled
