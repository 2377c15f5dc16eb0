"""Charts of the page: a Vega-Lite specification for each panel of a chart.

A panel is a view of its own, as wide as its place on the page, so that a phone shows one below the
other. The specifications hold data, scales and axes; colours of the page, legends and whether a
model is hidden come from `charts.js`. Each is plain Vega-Lite and opens in any editor of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchharness.report.plots.spacing import place
from benchharness.report.tables.layout import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.charts.chart import Chart, Mark, Panel
    from benchharness.report.parts import Plot, Section

HEIGHT = 210
"""Pixels of a panel, without its axes."""
_ROW = 10
"""Pixels of a model in a condition's row."""

_MOST = 4
"""Panels side by side."""

_SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
}
"""matplotlib's markers, as Vega names or draws them."""

_LINE = {"lines": "linear", "reliability": "linear", "steps": "step-after"}
"""How the points of a model are joined."""


def charts(sections: Sequence[Section]) -> dict[str, Any]:
    """Every chart of a page by its name."""
    return {plot.name: chart(plot) for section in sections for plot in section.plots}


def chart(plot: Plot) -> dict[str, Any]:
    """One chart: its legend and its panels, each with a title and a specification."""
    shown = plot.chart
    marks = (mark for panel in shown.shown for mark in panel.marks)
    seen = {mark.model for mark in marks if mark.score.value is not None}
    return {
        "across": _across(shown),
        "models": [
            {"name": own.model, "colour": own.colour, "shape": _SHAPES[own.marker]}
            for own in shown.looks
            if own.model in seen
        ],
        "panels": [
            {"title": panel.title, "spec": specification(shown, panel)} for panel in shown.shown
        ],
    }


def _across(shown: Chart) -> int:
    """Panels side by side on a wide page; a lone one leaves half of it."""
    if shown.kind == "conditions":
        return 1
    return min(_MOST, max(2, len(shown.shown)))


def specification(chart: Chart, panel: Panel) -> dict[str, Any]:
    """A panel in Vega-Lite.

    Its parameters are the page's: `hidden` lists models that are not drawn, `paper` is what shows
    through hollow points, `guide` is the colour of lines behind them.
    """
    lying = chart.kind == "conditions"
    rows = len(panel.x.ticks) * max(28, _ROW * len(chart.looks) + 8)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"{chart.title}. {panel.title}".strip(". "),
        "width": "container",
        "height": rows if lying else HEIGHT,
        "params": [
            {"name": "hidden", "value": []},
            {"name": "paper", "value": "white"},
            {"name": "guide", "value": "grey"},
        ],
        "data": {"values": [_datum(chart, panel, mark) for mark in panel.marks]},
        "transform": [{"filter": "indexof(hidden, datum.model) < 0"}],
        "encoding": _common(chart),
        "layer": [*_guides(panel, lying=lying), *_layers(chart, panel, lying=lying)],
    }


def _datum(chart: Chart, panel: Panel, mark: Mark) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": mark.model,
        "seed": "all" if mark.seed is None else str(mark.seed),
        "x": float(f"{place(chart, panel, mark):.6g}"),
        "y": mark.score.value,
        "where": mark.where,
        "score": number(mark.score),
        "suspect": mark.score.suspect,
    }
    optional = {
        "low": _drawn(mark.score.low),
        "high": _drawn(mark.score.high),
        "clean": mark.clean.value if mark.clean else None,
        "cleanScore": number(mark.clean) if mark.clean else None,
        "left": _drawn(mark.along.low) if mark.along else None,
        "right": _drawn(mark.along.high) if mark.along else None,
        "weight": mark.weight,
        "at": f"{mark.x:.4g}" if panel.x.log else None,
    }
    return found | {name: value for name, value in optional.items() if value is not None}


def _drawn(end: float | None) -> float | None:
    """The end of an interval to a tenth of a pixel or less: two thirds of its digits are noise."""
    return None if end is None else round(end, 4)


def _common(chart: Chart) -> dict[str, Any]:
    models = [own.model for own in chart.looks]
    colours = [own.colour for own in chart.looks]
    return {
        "color": {
            "field": "model",
            "type": "nominal",
            "scale": {"domain": models, "range": colours},
            "legend": None,
        },
        "detail": [{"field": "seed"}],
    }


def _places(panel: Panel, *, lying: bool) -> dict[str, Any]:
    """Both positions of a point."""
    along: dict[str, Any] = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [panel.x.low, panel.x.high], "nice": False}
        | ({"type": "log"} if panel.x.log else {"zero": False}),
        "axis": _axis(panel, lying=lying),
    }
    share: dict[str, Any] = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [-0.02, 1.02], "nice": False, "zero": False},
        "axis": {"title": panel.y, "values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": "~g"},
    }
    if lying:
        along["scale"] |= {"reverse": True}
        return {"x": share, "y": along}
    return {"x": along, "y": share}


def _axis(panel: Panel, *, lying: bool) -> dict[str, Any]:
    if not panel.x.ticks:
        return {"title": panel.x.title, "tickCount": 5, "format": "~g"}
    labels = {f"{place:.6g}": text for place, text in panel.x.ticks}
    axis: dict[str, Any] = {
        "title": panel.x.title or None,
        "values": [place for place, _ in panel.x.ticks],
        "labelExpr": f"({json.dumps(labels)})[format(datum.value, '.6~g')]",
    }
    return axis | ({"grid": False, "labelLimit": 130} if lying else {"labelOverlap": True})


def _guides(panel: Panel, *, lying: bool) -> list[dict[str, Any]]:
    """The chance line, the diagonal and the front, behind everything."""
    found: list[dict[str, Any]] = []
    if panel.chance is not None:
        place = {"field": "chance", "type": "quantitative"}
        rule = _guide({"type": "rule", "strokeDash": [2, 3]}, {"x" if lying else "y": place})
        found.append({"data": {"values": [{"chance": panel.chance}]}, "transform": [], **rule})
    if panel.diagonal:
        found.append(_path([(0.0, 0.0), (1.0, 1.0)], {"type": "line", "strokeDash": [5, 4]}))
    if panel.front:
        mark = {"type": "line", "interpolate": "step-before"}
        found.append(_path(panel.front, mark))
    return found


def _path(points: Sequence[tuple[float, float]], mark: dict[str, Any]) -> dict[str, Any]:
    values = [{"x": x, "y": y} for x, y in points]
    encoding = {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "y", "type": "quantitative"},
    }
    return {"data": {"values": values}, "transform": [], **_guide(mark, encoding)}


def _guide(mark: dict[str, Any], encoding: dict[str, Any]) -> dict[str, Any]:
    return {
        "mark": mark | {"strokeWidth": 1.1, "aria": False},
        "encoding": encoding | {"color": {"value": {"expr": "guide"}}, "detail": None},
    }


def _layers(chart: Chart, panel: Panel, *, lying: bool) -> list[dict[str, Any]]:
    places = _places(panel, lying=lying)
    share, other = ("x", "y") if lying else ("y", "x")
    layers: list[dict[str, Any]] = []
    if chart.kind in _LINE:
        layers.append(_joined(chart, places))
    if chart.kind == "steps":
        return layers
    # Fifteen bins of each model would be a fence of bars.
    opacity = 0.35 if chart.kind == "reliability" else 1.0
    layers.append(_bar(places, share, other, ("low", "high"), opacity))
    if chart.kind == "front":
        layers.append(_bar(places, other, share, ("left", "right")))
    if chart.kind == "dumbbell":
        layers += _drop(places)
    layers.append(_points(chart, panel, places))
    return layers


def _joined(chart: Chart, places: dict[str, Any]) -> dict[str, Any]:
    """Lines through the points of a model, faint ones through those of a training seed."""
    return {
        "mark": {"type": "line", "interpolate": _LINE[chart.kind], "clip": True},
        "encoding": places
        | {
            "opacity": {"condition": {"test": "datum.seed == 'all'", "value": 1}, "value": 0.35},
            "strokeWidth": {
                "condition": {"test": "datum.seed == 'all'", "value": 1.8},
                "value": 0.8,
            },
        },
    }


def _bar(
    places: dict[str, Any], along: str, other: str, ends: tuple[str, str], opacity: float = 1.0
) -> dict[str, Any]:
    """Intervals, of the mean over seeds alone."""
    first, second = ends
    encoding = {
        along: places[along] | {"field": first},
        f"{along}2": {"field": second},
        other: places[other],
    }
    return {
        "transform": [{"filter": f"datum.seed == 'all' && isValid(datum.{first})"}],
        "mark": {"type": "rule", "strokeWidth": 1.2, "opacity": opacity, "aria": False},
        "encoding": encoding,
    }


def _drop(places: dict[str, Any]) -> list[dict[str, Any]]:
    """From a model's clean score, a dash, down to its perturbed one."""
    whole = [{"filter": "datum.seed == 'all' && isValid(datum.clean) && isValid(datum.y)"}]
    return [
        {
            "transform": whole,
            "mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.35, "aria": False},
            "encoding": places | {"y": places["y"] | {"field": "clean"}, "y2": {"field": "y"}},
        },
        {
            "transform": whole,
            "mark": {
                "type": "tick",
                "thickness": 2.5,
                "size": 15,
                "aria": False,
                "orient": "horizontal",
            },
            "encoding": places | {"y": places["y"] | {"field": "clean"}},
        },
    ]


def _points(chart: Chart, panel: Panel, places: dict[str, Any]) -> dict[str, Any]:
    models = [own.model for own in chart.looks]
    shapes = [_SHAPES[own.marker] for own in chart.looks]
    colour = _common(chart)["color"]
    size: dict[str, Any] = {"condition": {"test": "datum.seed == 'all'", "value": 62}, "value": 14}
    if chart.kind == "reliability":
        scale = {"domain": [0, 1], "range": [16, 260]}
        size = {"field": "weight", "type": "quantitative", "scale": scale, "legend": None}
    return {
        "transform": [{"filter": "isValid(datum.y)"}],
        "mark": {"type": "point", "filled": True, "opacity": 1, "strokeWidth": 1.6},
        "encoding": places
        | {
            "color": None,
            "shape": {
                "field": "model",
                "type": "nominal",
                "scale": {"domain": models, "range": shapes},
                "legend": None,
            },
            "size": size,
            "stroke": colour,
            "fill": {"condition": {"test": "datum.suspect", "value": {"expr": "paper"}}, **colour},
            "tooltip": _tooltip(panel),
        },
    }


def _tooltip(panel: Panel) -> list[dict[str, str]]:
    """What is said of a point: all that some point of the panel has."""
    fields = {
        "model": "Model",
        "seed": "Training seed" if any(mark.seed is not None for mark in panel.marks) else "",
        "where": "Condition",
        "at": panel.x.title if panel.x.log else "",
        "score": panel.y,
        "cleanScore": "Clean" if any(mark.clean for mark in panel.marks) else "",
        "suspect": "Suspect" if any(mark.score.suspect for mark in panel.marks) else "",
    }
    return [
        {"field": field, "type": "nominal", "title": title}
        for field, title in fields.items()
        if title
    ]
