"""Robust against clean accuracy: what each training paid, and what it bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.charts.chart import SHARES, Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.parts import slug
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import UNPERTURBED, conditions, grid
from benchharness.report.scoring.subjects import together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Score

_FAMILY = "linf"
_CLEAN = Axis(title="Clean accuracy", low=-0.02, high=1.02, ticks=SHARES)


def tradeoffs(findings: Findings, dataset: str) -> Iterator[Chart]:
    """The chart, where several models of a dataset met perturbations."""
    models = [model for model in findings.models if findings.seeds(dataset, model)]
    panels = tuple(panel for panel in _panels(findings, dataset, models) if not panel.empty)
    if len(models) > 1 and panels:
        yield Chart(
            name=f"tradeoff_{slug(dataset)}",
            title=f"Robust against clean accuracy, {dataset}",
            caption="Under L∞ attacks, robust accuracy is the worst case over all of them up to "
            "ε; under other families it is the mean over perturbations and severities. Bars are "
            "95 % confidence intervals; a hollow marker is a suspect number. Grey steps: the "
            "Pareto front, models that no other beats in both.",
            kind="front",
            looks=tuple(look(findings, model) for model in models),
            panels=panels,
            across=len(panels),
        )


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (clean, robust) that no other beats in one and matches in the other, left to right."""
    kept: list[tuple[float, float]] = []
    for clean, robust in sorted(set(points), reverse=True):
        if not kept or robust > kept[-1][1]:
            kept.append((clean, robust))
    return kept[::-1]


def _panels(findings: Findings, dataset: str, models: Sequence[str]) -> Iterator[Panel]:
    wanted = conditions(findings, dataset, _FAMILY)
    for text, limit in grid(wanted).items():
        if limit:
            subjects = [together(findings, dataset, model) for model in models]
            found = [
                scores.worst_case(findings, subject, wanted, limit, witnessed=True)
                for subject in subjects
            ]
            yield _panel(findings, dataset, models, f"L∞ attacks, ε = {text}", found)
    for family in findings.families(dataset):
        if family != _FAMILY:
            found = [
                scores.family_mean(findings, together(findings, dataset, model), family, "accuracy")
                for model in models
            ]
            yield _panel(findings, dataset, models, findings.title(family), found)


def _panel(
    findings: Findings,
    dataset: str,
    models: Sequence[str],
    title: str,
    robust: Sequence[Score],
) -> Panel:
    marks = []
    for model, score in zip(models, robust, strict=True):
        subject = together(findings, dataset, model)
        clean = scores.mean(findings, subject, [UNPERTURBED], "accuracy")
        if clean.value is not None:
            marks.append(Mark(model=model, x=clean.value, along=clean, score=score, where=title))
    trusted = [
        (mark.x, mark.score.value)
        for mark in marks
        if mark.score.value is not None and not mark.score.suspect
    ]
    return Panel(
        title=title,
        x=_CLEAN,
        y="Robust accuracy",
        marks=tuple(marks),
        diagonal=True,
        front=tuple(front(trusted)),
    )
