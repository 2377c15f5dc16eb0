"""What is inside a panel of a figure, for each kind of chart."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator, NullLocator

from benchharness.outside.escaping import one_line
from benchharness.report.cells.score import Score
from benchharness.report.plots.spacing import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.charts.chart import Chart, Kind, Mark, Panel
    from benchharness.report.charts.looks import Look

    Placed = Sequence[tuple[float, Mark]]
    """Points, each with the place at which it is drawn."""

_GUIDE = "#999999"


def draw(axes: Axes, chart: Chart, panel: Panel) -> None:
    """Draw a panel with its title and its axes."""
    lying = chart.kind == "conditions"
    _guides(axes, panel, lying=lying)
    for own in chart.looks:
        marks = (mark for mark in panel.marks if mark.model == own.model)
        _DRAWN[chart.kind](axes, own, [(place(chart, panel, mark), mark) for mark in marks])
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


def _dumbbell(axes: Axes, own: Look, placed: Placed) -> None:
    for at, mark in placed:
        if mark.score.value is None:
            continue
        if mark.seed is not None:
            axes.plot(at, mark.score.value, color=own.colour, marker=".", alpha=0.5)
            continue
        if mark.clean is not None and mark.clean.value is not None:
            ends = [mark.clean.value, mark.score.value]
            axes.plot([at, at], ends, color=own.colour, linewidth=2.4, alpha=0.35)
            axes.plot(at, mark.clean.value, color=own.colour, marker="_", markersize=9)
    _points(axes, own, [one for one in placed if one[1].seed is None])


def _lines(axes: Axes, own: Look, placed: Placed) -> None:
    for seed, places, values, points in _by_seed(placed):
        if seed is not None:
            axes.plot(places, values, color=own.colour, linewidth=0.7, alpha=0.4)
            continue
        axes.plot(places, values, color=own.colour)
        _points(axes, own, points)


def _front(axes: Axes, own: Look, placed: Placed) -> None:
    _points(axes, own, placed)


def _steps(axes: Axes, own: Look, placed: Placed) -> None:
    for _, places, values, _ in _by_seed(placed):
        axes.step(places, values, where="post", color=own.colour)


def _reliability(axes: Axes, own: Look, placed: Placed) -> None:
    for _, places, values, points in _by_seed(placed):
        axes.plot(places, values, color=own.colour, linewidth=0.8, alpha=0.6)
        known = [(at, mark) for at, mark in points if mark.score.value is not None]
        _points(axes, own, known, marked=False)
        axes.scatter(
            [at for at, _ in known],
            [_filled(mark.score.value) for _, mark in known],
            s=[(_size() * (0.5 + (mark.weight or 0.0) ** 0.5)) ** 2 for _, mark in known],
            c=["white" if mark.score.suspect else own.colour for _, mark in known],
            edgecolors=own.colour,
            linewidths=float(mpl.rcParams["lines.markeredgewidth"]),
            marker=own.marker,
            zorder=3,
        )


def _conditions(axes: Axes, own: Look, placed: Placed) -> None:
    _points(axes, own, placed, lying=True)


_DRAWN: dict[Kind, Callable[[Axes, Look, Placed], None]] = {
    "dumbbell": _dumbbell,
    "lines": _lines,
    "front": _front,
    "steps": _steps,
    "reliability": _reliability,
    "conditions": _conditions,
}


def _by_seed(placed: Placed) -> Iterator[tuple[int | None, list[float], list[float], Placed]]:
    """The points of each training seed: the seed, their places, their values and themselves."""
    for seed, group in groupby(placed, key=lambda one: one[1].seed):
        points = list(group)
        values = [_filled(mark.score.value) for _, mark in points]
        yield seed, [at for at, _ in points], values, points


def _points(
    axes: Axes, own: Look, placed: Placed, *, lying: bool = False, marked: bool = True
) -> None:
    """Draw scores with their intervals; suspect ones are hollow, and none without a value.

    Args:
        axes: The panel.
        own: Colour and marker.
        placed: The scores.
        lying: Whether values go to the right.
        marked: Whether to draw the points themselves, too.

    All points of one kind are one artist: thousands of them would take matplotlib minutes.
    """
    for hollow in (False, True):
        chosen = [
            (at, mark)
            for at, mark in placed
            if mark.score.value is not None and bool(mark.score.suspect) is hollow
        ]
        if not chosen:
            continue
        places = [at for at, _ in chosen]
        values = [_filled(mark.score.value) for _, mark in chosen]
        bars = _bars([mark.score for _, mark in chosen])
        others = _bars([mark.along or Score() for _, mark in chosen])
        axes.errorbar(
            values if lying else places,
            places if lying else values,
            xerr=bars if lying else others,
            yerr=others if lying else bars,
            color=own.colour,
            linestyle="none",
            marker=own.marker if marked else "none",
            markerfacecolor="white" if hollow else own.colour,
            markersize=_size(),
            elinewidth=1.0,
            capsize=2.0,
        )


def _size() -> float:
    """The size of a marker in points."""
    return float(mpl.rcParams["lines.markersize"])


def _bars(scores: Sequence[Score]) -> list[list[float]] | None:
    """Both arms of every interval, NaN where there is none; None where none has any."""
    arms = [_arms(score) for score in scores]
    known = [both for both in arms if both is not None]
    if not known:
        return None
    missing = (float("nan"), float("nan"))
    return [list(arm) for arm in zip(*(both or missing for both in arms), strict=True)]


def _arms(score: Score) -> tuple[float, float] | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    # Rounding may leave an end of an interval beyond its number by the last bit.
    return max(0.0, score.value - score.low), max(0.0, score.high - score.value)


def _filled(value: float | None) -> float:
    """A value as matplotlib takes it: NaN leaves a gap."""
    return float("nan") if value is None else value
