"""A metric over the severity of perturbations."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from benchharness.report.cells import names
from benchharness.report.cells.score import METRICS
from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.parts import slug
from benchharness.report.plots.guessing import CAPTION, chance
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import by_perturbation, conditions, marked
from benchharness.report.scoring.subjects import each_seed, subjects
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric, Score
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject

_APART = 1 / 9
"""Share of an axis that two labelled ticks are apart."""


def curves(findings: Findings, dataset: str, family: str, metric: Metric) -> Chart:
    """A metric over the severity of each perturbation of a family, starting with clean volumes."""
    wanted = conditions(findings, dataset, family)
    groups: list[tuple[str, tuple[Condition, ...], bool]] = [
        (marked(names.perturbation(name), plausible=own[0].plausible), own, False)
        for name, own in by_perturbation(wanted).items()
        if any(condition.severity for condition in own)
    ]
    if groups and metric == "accuracy" and any(condition.attack for condition in wanted):
        groups.append(("Worst case (envelope)", wanted, True))
    own_subjects = subjects(findings, dataset, each=False)
    return Chart(
        name=f"curves_{slug(dataset)}_{slug(family)}_{metric}",
        title=f"{METRICS[metric]} under {findings.title(family)}, {dataset}",
        caption="Bars are 95 % confidence intervals; 0 is clean. Models are drawn side by side "
        "where their points would cover each other. A gap in a line is a cell that was not run, "
        "failed or is undefined; a hollow marker is a suspect number. Where a model has several "
        f"training seeds, the thick line is their mean and each thin line a seed. {CAPTION}",
        kind="lines",
        looks=tuple(look(findings, subject.model) for subject in own_subjects),
        panels=tuple(
            Panel(
                title=title,
                x=_axis(own),
                y=METRICS[metric],
                marks=tuple(_marks(findings, own_subjects, own, metric, worst=worst)),
                chance=chance(findings, dataset, metric),
            )
            for title, own, worst in groups
        ),
        across=len(groups),
    )


def _marks(
    findings: Findings,
    own_subjects: Sequence[Subject],
    own: Sequence[Condition],
    metric: Metric,
    *,
    worst: bool,
) -> Iterator[Mark]:
    unit = _unit(own)
    for subject in own_subjects:
        for part in (*each_seed(subject), subject):
            seed = None if part is subject else part.seeds[0]
            for place, where, score in _points(findings, part, own, metric, worst=worst):
                yield Mark(model=subject.model, x=place * unit, score=score, where=where, seed=seed)


def _points(
    findings: Findings,
    subject: Subject,
    wanted: Sequence[Condition],
    metric: Metric,
    *,
    worst: bool,
) -> Iterator[tuple[float, str, Score]]:
    """Severity, condition in words and score, from clean volumes on.

    If asked, the score is that of the worst case over all conditions up to the severity.
    """
    known = {condition.severity: condition for condition in wanted if condition.severity}
    yield 0.0, "Clean", scores.single(findings, subject, CLEAN_FAMILY, metric)
    for severity in sorted(known):
        condition = known[severity]
        if worst:
            score = scores.worst_case(findings, subject, wanted, severity, witnessed=True)
            yield severity, f"Worst case up to {condition.severity_text}", score
        else:
            score = scores.single(findings, subject, condition.label, metric)
            yield severity, names.perturbation(condition.label), score


def _axis(wanted: Sequence[Condition]) -> Axis:
    steps = sorted({condition.severity for condition in wanted if condition.severity})
    # The same axis for every model, whether or not its last cells were run.
    low, high = -0.05 * steps[-1], 1.05 * steps[-1]
    if not wanted[0].attack:
        levels = ((step, f"{step:g}") for step in steps)
        return Axis(
            title="Severity level (0 is clean)", low=low, high=high, ticks=((0.0, "0"), *levels)
        )
    unit = _unit(wanted)
    if unit == 1:
        return Axis(title="Number changed", low=low, high=high)
    budgets = tuple((step * unit, f"{step * unit:.3g}") for step in (0.0, *steps))
    apart = all(b - a > budgets[-1][0] * _APART for (a, _), (b, _) in pairwise(budgets))
    return Axis(
        title="ε × 255",
        low=low * unit,
        high=high * unit,
        ticks=budgets if len(budgets) <= 7 and apart else (),
    )


def _unit(wanted: Sequence[Condition]) -> int:
    """What severities are multiplied by to be shown: 255 for an ε, 1 for levels and counts."""
    largest = max(condition.severity or 0.0 for condition in wanted)
    return 255 if wanted[0].attack and largest <= 1 else 1
