"""A metric over the severity of perturbations."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchharness.report.cells.score import METRICS
from benchharness.report.parts import slug
from benchharness.report.plots.canvas import ACROSS, Sheet, heading, line, look, render
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import by_perturbation, conditions, marked
from benchharness.report.scoring.subjects import each_seed, subjects
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric, Score
    from benchharness.report.parts import Plot
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject

    Panel = tuple[str, tuple[Condition, ...], bool]
    """Its title, its conditions, and whether it shows their worst case."""


def curves(
    findings: Findings, dataset: str, family: str, metric: Metric, *, pdf: bool = False
) -> Plot:
    """A metric over the severity of each perturbation of a family, starting with clean volumes."""
    return render(sheet(findings, dataset, family, metric), pdf=pdf)


def sheet(findings: Findings, dataset: str, family: str, metric: Metric) -> Sheet[Panel]:
    """`curves` before they are rendered."""
    wanted = conditions(findings, dataset, family)
    panels: list[Panel] = [
        (marked(name, plausible=own[0].plausible), own, False)
        for name, own in by_perturbation(wanted).items()
        if any(condition.severity for condition in own)
    ]
    if panels and metric == "accuracy" and any(condition.attack for condition in wanted):
        panels.append(("Worst case (envelope)", wanted, True))
    models = [subject.model for subject in subjects(findings, dataset, each=False)]
    return Sheet(
        name=f"curves_{slug(dataset)}_{slug(family)}_{metric}",
        title=f"{METRICS[metric]} under {findings.title(family)}, {dataset}",
        caption="Bands are 95 % confidence intervals; 0 is clean. A gap in a line is a cell that "
        "was not run, failed or is undefined; a hollow marker is a suspect number. Where a model "
        "has several training seeds, the thick line is their mean and each thin line a seed.",
        looks=tuple(look(findings, model) for model in models),
        panels=tuple(panels),
        across=min(ACROSS, len(panels)),
        draw=partial(_draw, findings, dataset, metric),
        label=lambda _: METRICS[metric],
    )


def _draw(findings: Findings, dataset: str, metric: Metric, axes: Axes, panel: Panel) -> None:
    title, own, worst = panel
    for subject in subjects(findings, dataset, each=False):
        for part in (*each_seed(subject), subject):
            points = _points(findings, part, own, metric, worst=worst)
            line(axes, look(findings, subject.model), points, faint=part is not subject)
    heading(axes, title)
    _axis(axes, own)


def _points(
    findings: Findings,
    subject: Subject,
    wanted: Sequence[Condition],
    metric: Metric,
    *,
    worst: bool,
) -> list[tuple[float, Score]]:
    """(severity, score) from clean volumes on; if asked, of the worst case over all conditions."""
    known = {condition.severity: condition.label for condition in wanted if condition.severity}
    points = [(0.0, scores.single(findings, subject, CLEAN_FAMILY, metric))]
    for severity in sorted(known):
        score = (
            scores.worst_case(findings, subject, wanted, severity, witnessed=True)
            if worst
            else scores.single(findings, subject, known[severity], metric)
        )
        points.append((severity, score))
    return points


def _axis(axes: Axes, wanted: Sequence[Condition]) -> None:
    steps = sorted({condition.severity for condition in wanted if condition.severity})
    # The same axis for every model, whether or not its last cells were run.
    axes.set_xlim(-0.04 * steps[-1], 1.04 * steps[-1])
    if not wanted[0].attack:
        axes.set_xticks([0, *steps], ["0", *(f"{step:g}" for step in steps)])
        axes.set_xlabel("Severity level (0 is clean)")
    elif steps[-1] <= 1:
        _budgets(axes, [0.0, *steps])
    else:
        axes.set_xlabel("Number changed")


def _budgets(axes: Axes, ticks: Sequence[float]) -> None:
    """Label ε in steps of 1/255, at the budgets themselves where they are few and far apart."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 255:.3g}"))
    apart = all(b - a > ticks[-1] / 9 for a, b in pairwise(ticks))
    if len(ticks) <= 7 and apart:
        axes.set_xticks(ticks)
    axes.set_xlabel("ε × 255")
