"""Scores with their intervals in a panel of a figure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
from matplotlib.collections import LineCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.score import Score
    from benchharness.report.charts.chart import Mark
    from benchharness.report.charts.looks import Look

    Segment = tuple[tuple[float, float], tuple[float, float]]

_CAP = 4.0
"""Points that the end of an interval is wide."""


class Placed(NamedTuple):
    """A point of a panel."""

    own: Look
    """Its colour and its marker."""
    at: float
    """Where it is drawn along the axis that holds no score."""
    mark: Mark


def size() -> float:
    """The size of a marker in points."""
    return float(mpl.rcParams["lines.markersize"])


def scores(
    axes: Axes,
    placed: Iterable[Placed],
    *,
    lying: bool = False,
    sized: Callable[[Mark], float] | None = None,
) -> None:
    """Draw scores with their intervals; suspect ones are hollow, and none without a value.

    Args:
        axes: The panel.
        placed: The scores, of all models.
        lying: Whether scores go to the right.
        sized: The size of a marker in points; that of the style when None.

    What looks the same is one artist, since every artist costs matplotlib time in each format.
    """
    shown = [one for one in placed if one.mark.score.value is not None]
    if not shown:
        return
    _bars(axes, [(one, one.mark.score) for one in shown], along=lying, lying=lying)
    along = [(one, one.mark.along) for one in shown if one.mark.along is not None]
    _bars(axes, along, along=not lying, lying=lying)
    for marker, group in _by(shown, lambda one: one.own.marker):
        x, y = zip(*(_point(one, lying=lying) for one in group), strict=True)
        axes.scatter(
            x,
            y,
            s=[(sized(one.mark) if sized else size()) ** 2 for one in group],
            c=["white" if one.mark.score.suspect else one.own.colour for one in group],
            edgecolors=[one.own.colour for one in group],
            linewidths=_edge(),
            marker=marker,
            zorder=3,
        )


def joins(axes: Axes, placed: Iterable[Placed]) -> None:
    """Draw a broad line from each clean score down to the score itself."""
    segments: list[tuple[str, Segment]] = []
    for own, at, mark in placed:
        clean = mark.clean.value if mark.clean is not None else None
        if clean is not None and mark.score.value is not None:
            segments.append((own.colour, ((at, clean), (at, mark.score.value))))
    if segments:
        _lines(axes, segments, width=2.4, alpha=0.35)
        _strokes(axes, [(colour, start) for colour, (start, _) in segments], "_", 9.0)


def seeds(axes: Axes, placed: Iterable[Placed]) -> None:
    """Draw the score of each training seed as a dot."""
    shown = [one for one in placed if one.mark.score.value is not None]
    if shown:
        x, y = zip(*(_point(one, lying=False) for one in shown), strict=True)
        colours = [one.own.colour for one in shown]
        dot = (size() / 2) ** 2
        axes.scatter(x, y, s=dot, c=colours, alpha=0.5, linewidths=0, zorder=2)


def _bars(axes: Axes, scored: Iterable[tuple[Placed, Score]], *, along: bool, lying: bool) -> None:
    """Draw intervals; `along` lays them along x."""
    segments = []
    for one, score in scored:
        if score.value is None or score.low is None or score.high is None:
            continue
        x, y = _point(one, lying=lying)
        # An interval holds its score, but rounding may leave the last bit outside.
        down, up = min(0.0, score.low - score.value), max(0.0, score.high - score.value)
        ends = ((x + down, y), (x + up, y)) if along else ((x, y + down), (x, y + up))
        segments.append((one.own.colour, ends))
    if not segments:
        return
    _lines(axes, segments, width=1.0)
    tips = [(colour, tip) for colour, both in segments for tip in both]
    _strokes(axes, tips, "|" if along else "_", _CAP)


def _lines(
    axes: Axes, segments: Sequence[tuple[str, Segment]], *, width: float, alpha: float = 1.0
) -> None:
    # A tuple of two colours would be read as a colour and its alpha.
    colours = [colour for colour, _ in segments]
    lines = [both for _, both in segments]
    axes.add_collection(
        LineCollection(lines, colors=colours, linewidths=width, alpha=alpha, zorder=2)
    )


def _strokes(
    axes: Axes, at: Sequence[tuple[str, tuple[float, float]]], marker: str, width: float
) -> None:
    x, y = zip(*(place for _, place in at), strict=True)
    colours = [colour for colour, _ in at]
    axes.scatter(x, y, s=width**2, c=colours, linewidths=_edge(), marker=marker, zorder=2)


def _point(one: Placed, *, lying: bool) -> tuple[float, float]:
    value = one.mark.score.value
    assert value is not None, "only points with a score are drawn"
    return (value, one.at) if lying else (one.at, value)


def _edge() -> float:
    return float(mpl.rcParams["lines.markeredgewidth"])


def _by(
    placed: Sequence[Placed], key: Callable[[Placed], str]
) -> Iterator[tuple[str, list[Placed]]]:
    for found, group in groupby(sorted(placed, key=key), key=key):
        yield found, list(group)
