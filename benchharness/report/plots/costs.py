"""Accuracy and AUC against what a network costs: parameters, operations, latency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchharness.report.cells import names
from benchharness.report.cells.score import METRICS, NO_INTERVALS
from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.choice import EVERYTHING
from benchharness.report.parts import slug
from benchharness.report.plots.guessing import CAPTION, chance
from benchharness.report.scoring import scores
from benchharness.report.scoring.subjects import each_seed, together
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric
    from benchharness.report.choice import Choice
    from benchharness.store.records import ModelCost

_METRICS: tuple[Metric, ...] = ("accuracy", "auc")

MEASURES = {
    "parameters": ("parameters", "Parameters (millions)"),
    "flops": ("FLOPs", "GFLOPs for one volume"),
    "latency": ("latency", "Latency (ms for one volume)"),
}
"""What a network costs: in a title, and on an axis."""

_SPREAD = (
    "Bars are 95 % confidence intervals; a hollow marker is a suspect number. Where a model has "
    "several training seeds, the large marker is their mean and each dot a seed."
)


def against_costs(
    findings: Findings, dataset: str | None, choice: Choice = EVERYTHING
) -> Iterator[Chart]:
    """A chart for each cost that was measured."""
    for measure in MEASURES:
        if _costs(findings, dataset, measure):
            yield against_cost(findings, dataset, measure, choice)


def not_measured(findings: Findings, dataset: str | None) -> str:
    """Which costs no model of a dataset has, in a sentence; empty where each was measured."""
    lacking = [title for key, (title, _) in MEASURES.items() if not _costs(findings, dataset, key)]
    return f"Not measured: {', '.join(lacking)}." if lacking else ""


def against_cost(
    findings: Findings, dataset: str | None, measure: str, choice: Choice = EVERYTHING
) -> Chart:
    """Each model's clean score joined to its score under each family, over a cost.

    Args:
        findings: The store.
        dataset: Which one; None averages over datasets.
        measure: A key of `MEASURES`.
        choice: Which metrics.
    """
    datasets = scores.averaged(findings) if dataset is None else (dataset,)
    families = tuple(dict.fromkeys(f for name in datasets for f in findings.families(name)))
    costs = _costs(findings, dataset, measure)
    metrics = choice.shown(_METRICS)
    # Where no family is complete, clean scores alone are there to see.
    panels = _panels(findings, dataset, measure, families, metrics)
    panels = panels or _panels(findings, dataset, measure, (CLEAN_FAMILY,), metrics)
    where = f"average over {len(datasets)} datasets" if dataset is None else dataset
    without = [model for model in _models(findings, dataset) if model not in costs]
    caption = (
        "A line joins a model's clean score (a dash) to its mean over all perturbations and "
        "severities of a family (its marker). Models of one cost are drawn side by side.",
        NO_INTERVALS if dataset is None else _SPREAD,
        CAPTION,
        f"Not measured, and so not shown: {', '.join(without)}." if without else "",
    )
    return Chart(
        name=f"{measure}_{slug('average' if dataset is None else dataset)}",
        title=f"{_listed(metrics)} against {MEASURES[measure][0]}, {where}",
        caption=" ".join(part for part in caption if part),
        kind="dumbbell",
        looks=tuple(look(findings, model) for model in costs),
        panels=panels,
        across=max(1, len(families)),
    )


def _panels(
    findings: Findings,
    dataset: str | None,
    measure: str,
    families: Sequence[str],
    metrics: Sequence[Metric],
) -> tuple[Panel, ...]:
    """A panel for each metric and family in which there is something to see."""
    costs = _costs(findings, dataset, measure)
    axis = _axis(MEASURES[measure][1], costs.values())
    made = (
        Panel(
            title=_title(findings, family),
            x=axis,
            y=METRICS[metric],
            marks=tuple(_marks(findings, dataset, costs, family, metric)),
            chance=chance(findings, dataset, metric),
        )
        for metric in metrics
        for family in families
    )
    return tuple(panel for panel in made if not panel.empty)


def _title(findings: Findings, family: str) -> str:
    return "Clean" if family == CLEAN_FAMILY else f"Under {findings.title(family)}"


def _models(findings: Findings, dataset: str | None) -> list[str]:
    datasets = scores.averaged(findings) if dataset is None else (dataset,)
    return [m for m in findings.models if any(findings.seeds(d, m) for d in datasets)]


def _costs(findings: Findings, dataset: str | None, measure: str) -> dict[str, float]:
    """What each model costs, of those for which it is known."""
    found = {model: findings.cost(model, dataset) for model in _models(findings, dataset)}
    known = {model: _value(cost, measure) for model, cost in found.items() if cost is not None}
    return {model: value for model, value in known.items() if value > 0}


def _value(cost: ModelCost, measure: str) -> float:
    if measure == "parameters":
        return cost.parameters / 1e6
    return cost.flops / 1e9 if measure == "flops" else cost.latency_ms


def _marks(
    findings: Findings,
    dataset: str | None,
    costs: dict[str, float],
    family: str,
    metric: Metric,
) -> Iterator[Mark]:
    where = names.perturbation(family) if family == CLEAN_FAMILY else findings.title(family)
    for model, cost in costs.items():
        if dataset is None:
            score = scores.over_datasets(findings, model, family, metric)
            clean = scores.over_datasets(findings, model, CLEAN_FAMILY, metric)
            yield Mark(model=model, x=cost, score=score, clean=clean, where=where)
            continue
        subject = together(findings, dataset, model)
        for part in (subject, *each_seed(subject)):
            yield Mark(
                model=model,
                x=cost,
                score=scores.family_mean(findings, part, family, metric),
                clean=scores.single(findings, part, CLEAN_FAMILY, metric),
                where=where,
                seed=None if part is subject else part.seeds[0],
            )


def _listed(metrics: Sequence[Metric]) -> str:
    first, *others = (METRICS[metric] for metric in metrics)
    named = [first, *(name if name == "AUC" else name.lower() for name in others)]
    return " and ".join(part for part in (", ".join(named[:-1]), named[-1]) if part)


def _axis(title: str, costs: Collection[float]) -> Axis:
    """An axis with room for every model, and wide enough for labelled ticks."""
    low, high = min(costs, default=1.0), max(costs, default=1.0)
    middle = (low * high) ** 0.5
    low, high = min(low / 1.3, middle / 3), max(high * 1.3, middle * 3)
    return Axis(title=title, low=low, high=high, log=True, ticks=_ticks(low, high))


def _ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """1, 2 and 5 of every power of ten inside; over many powers, 1 alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 3 else (1,)
    places = (step * 10.0**power for power in powers for step in steps)
    return tuple((place, f"{place:g}") for place in places if low <= place <= high)
