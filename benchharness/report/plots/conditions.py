"""Models side by side under every perturbation: the comparison view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells import names
from benchharness.report.cells.score import METRICS
from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.parts import slug
from benchharness.report.plots.guessing import CAPTION, chance
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import UNPERTURBED, by_perturbation, conditions, marked
from benchharness.report.scoring.subjects import subjects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric
    from benchharness.report.scoring.conditions import Condition


def compared(findings: Findings, dataset: str, metric: Metric) -> Iterator[Chart]:
    """The chart, where a dataset has several models and any perturbation."""
    own_subjects = subjects(findings, dataset, each=False)
    rows = (UNPERTURBED, *_strongest(findings, dataset))
    if len(own_subjects) < 2 or len(rows) < 2:
        return
    marks = tuple(
        Mark(
            model=subject.model,
            x=float(place),
            score=scores.single(findings, subject, condition.label, metric),
            where=_named(condition),
        )
        for place, condition in enumerate(rows)
        for subject in own_subjects
    )
    ticks = tuple((float(place), _named(condition)) for place, condition in enumerate(rows))
    yield Chart(
        name=f"compared_{slug(dataset)}_{metric}",
        title=f"Models compared by {METRICS[metric].lower()}, {dataset}",
        caption="Clean, and every perturbation at the largest severity that was run. Bars are "
        f"95 % confidence intervals; a hollow marker is a suspect number. {CAPTION}",
        kind="conditions",
        looks=tuple(look(findings, subject.model) for subject in own_subjects),
        panels=(
            Panel(
                title="",
                x=Axis(title="", low=-0.5, high=len(rows) - 0.5, ticks=ticks),
                y=METRICS[metric],
                marks=marks,
                chance=chance(findings, dataset, metric),
            ),
        ),
        across=1,
    )


def _strongest(findings: Findings, dataset: str) -> Iterator[Condition]:
    for family in findings.families(dataset):
        for own in by_perturbation(conditions(findings, dataset, family)).values():
            yield own[-1]


def _named(condition: Condition) -> str:
    name = marked(names.perturbation(condition.perturbation), plausible=condition.plausible)
    unit = "ε = " if condition.attack and (condition.severity or 2.0) <= 1 else ""
    return f"{name}, {unit}{condition.severity_text}" if condition.severity_text else name
