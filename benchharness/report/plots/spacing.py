"""How the points of several models are kept from covering each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.plots.chart import Chart, Panel

_APART = 0.014
"""Share of an axis by which the points of two models are apart."""
_SPREAD = 0.09
"""Share of an axis over which all models are spread at most."""
_ROW = 0.7
"""Share of a condition's row that its models fill."""


def dodged(chart: Chart, panel: Panel, model: str) -> float:
    """How far a model's points are drawn from where they are, in units of the panel's `x`."""
    models = [own.model for own in chart.looks]
    middle = models.index(model) - (len(models) - 1) / 2
    if chart.kind == "conditions":
        return middle * _ROW / len(models)
    if chart.kind != "lines" or not panel.marks:
        return 0.0
    return middle * (panel.x.high - panel.x.low) * min(_APART, _SPREAD / len(models))
