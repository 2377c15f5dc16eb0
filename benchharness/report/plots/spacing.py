"""How the points of several models are kept from covering each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.charts.chart import Chart, Mark, Panel

_APART = 0.014
"""Share of an axis by which the points of two models are apart."""
_SPREAD = 0.09
"""Share of an axis over which all models are spread at most."""
_ROW = 0.7
"""Share of a condition's row that its models fill."""


def place(chart: Chart, panel: Panel, mark: Mark) -> float:
    """Where a point is drawn along the panel's `x`: beside those of other models."""
    models = [own.model for own in chart.looks]
    middle = models.index(mark.model) - (len(models) - 1) / 2
    if chart.kind == "conditions":
        return mark.x + middle * _ROW / len(models)
    if chart.kind not in ("lines", "dumbbell"):
        return mark.x
    shift = middle * min(_APART, _SPREAD / len(models))
    if panel.x.log:
        return float(mark.x * (panel.x.high / panel.x.low) ** shift)
    return mark.x + shift * (panel.x.high - panel.x.low)
