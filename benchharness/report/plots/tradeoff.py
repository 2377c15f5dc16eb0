"""Robust against clean accuracy: what each training paid, and what it bought."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchharness.report.parts import slug
from benchharness.report.plots.canvas import ACROSS, Sheet, heading, look, render
from benchharness.report.scoring import scores, training
from benchharness.report.scoring.conditions import UNPERTURBED, conditions, grid
from benchharness.report.scoring.subjects import together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Score
    from benchharness.report.parts import Plot

_FAMILY = "linf"


def tradeoffs(findings: Findings, dataset: str, *, pdf: bool = False) -> Iterator[Plot]:
    """The plot, where several recipes of a dataset met L∞ attacks."""
    if len(training.recipes(findings, dataset)) > 1 and (made := sheet(findings, dataset)).panels:
        yield render(made, pdf=pdf)


def sheet(findings: Findings, dataset: str) -> Sheet[tuple[str, float]]:
    """The same before it is rendered: a panel for each ε."""
    budgets = grid(conditions(findings, dataset, _FAMILY))
    panels = tuple((text, value) for text, value in budgets.items() if value)
    models = [model for model in findings.models if findings.seeds(dataset, model)]
    return Sheet(
        name=f"tradeoff_{slug(dataset)}_{_FAMILY}",
        title=f"Robust against clean accuracy, {dataset}",
        caption="Robust accuracy is the worst case over all L∞ attacks up to ε. Bars are 95 % "
        "confidence intervals; a hollow marker is a suspect number. Grey steps: the Pareto front, "
        "models that no other beats in both.",
        looks=tuple(look(findings, model) for model in models),
        panels=panels,
        across=max(1, min(ACROSS, len(panels))),
        draw=partial(_draw, findings, dataset, models),
        label=lambda _: "Robust accuracy",
    )


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (clean, robust) that no other beats in one and matches in the other, left to right."""
    kept: list[tuple[float, float]] = []
    for clean, robust in sorted(set(points), reverse=True):
        if not kept or robust > kept[-1][1]:
            kept.append((clean, robust))
    return kept[::-1]


def _draw(
    findings: Findings,
    dataset: str,
    models: Sequence[str],
    axes: Axes,
    panel: tuple[str, float],
) -> None:
    text, limit = panel
    wanted = conditions(findings, dataset, _FAMILY)
    points = []
    for model in models:
        subject = together(findings, dataset, model)
        clean = scores.mean(findings, subject, [UNPERTURBED], "accuracy")
        robust = scores.worst_case(findings, subject, wanted, limit)
        if clean.value is None or robust.value is None:
            continue
        if not robust.suspect:
            points.append((clean.value, robust.value))
        own = look(findings, model)
        axes.errorbar(
            [clean.value],
            [robust.value],
            xerr=_bars(clean),
            yerr=_bars(robust),
            color=own.colour,
            marker=own.marker,
            markerfacecolor="white" if robust.suspect else own.colour,
            markersize=7,
            elinewidth=1.2,
            capsize=2.5,
        )
    if reached := front(points):
        places, values = zip(*reached, strict=True)
        axes.step(places, values, where="pre", color="#999999", linewidth=1.0, zorder=0)
    heading(axes, f"ε = {text}")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Clean accuracy")


def _bars(score: Score) -> list[list[float]] | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    return [[score.value - score.low], [score.high - score.value]]
