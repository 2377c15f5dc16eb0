"""Accuracy and AUC against the number of parameters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchharness.report.cells.score import METRICS, NO_INTERVALS
from benchharness.report.choice import EVERYTHING
from benchharness.report.parts import slug
from benchharness.report.plots.canvas import Sheet, filled, look, point, render
from benchharness.report.scoring import scores
from benchharness.report.scoring.subjects import each_seed, together
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric
    from benchharness.report.choice import Choice
    from benchharness.report.parts import Plot

_METRICS: tuple[Metric, ...] = ("accuracy", "auc")

_SPREAD = (
    "Bars are 95 % confidence intervals; a hollow marker is a suspect number. Where a model has "
    "several training seeds, the large marker is their mean and each dot a seed."
)


def against_parameters(
    findings: Findings, dataset: str | None, choice: Choice = EVERYTHING
) -> Plot:
    """Accuracy and AUC over the number of parameters, clean and under each family.

    Args:
        findings: The store.
        dataset: Which one; None averages over datasets.
        choice: Which metrics, and whether as PDF too.
    """
    return render(sheet(findings, dataset, choice), pdf=choice.pdf)


def sheet(
    findings: Findings, dataset: str | None, choice: Choice = EVERYTHING
) -> Sheet[tuple[Metric, str]]:
    """`against_parameters` before it is rendered."""
    datasets = scores.averaged(findings) if dataset is None else (dataset,)
    families = (
        CLEAN_FAMILY,
        *dict.fromkeys(family for name in datasets for family in findings.families(name)),
    )
    models = [m for m in findings.models if any(findings.seeds(d, m) for d in datasets)]
    costs = {model: findings.cost(model, dataset) for model in models}
    sizes = {model: cost.parameters / 1e6 for model, cost in costs.items() if cost is not None}
    where = f"average over {len(datasets)} datasets" if dataset is None else dataset
    spread = NO_INTERVALS if dataset is None else _SPREAD
    metrics = choice.shown(_METRICS)
    return Sheet(
        name=f"parameters_{slug('average' if dataset is None else dataset)}",
        title=f"{_listed(metrics)} against parameters, {where}",
        caption=f"Means over all perturbations and severities of a family. {spread}",
        looks=tuple(look(findings, model) for model in models),
        panels=tuple((metric, family) for metric in metrics for family in families),
        across=len(families),
        draw=partial(_draw, findings, dataset, sizes),
        label=lambda panel: METRICS[panel[0]],
    )


def _listed(metrics: Sequence[Metric]) -> str:
    first, *others = (METRICS[metric] for metric in metrics)
    names = [first, *(name if name == "AUC" else name.lower() for name in others)]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _draw(
    findings: Findings,
    dataset: str | None,
    sizes: dict[str, float],
    axes: Axes,
    panel: tuple[Metric, str],
) -> None:
    metric, family = panel
    for model, size in sizes.items():
        own = look(findings, model)
        if dataset is None:
            point(axes, own, size, scores.over_datasets(findings, model, family, metric))
            continue
        subject = together(findings, dataset, model)
        point(axes, own, size, scores.family_mean(findings, subject, family, metric))
        for seed in each_seed(subject):
            value = filled(scores.family_mean(findings, seed, family, metric).value)
            axes.plot(size, value, color=own.colour, marker=".", alpha=0.5)
    axes.set_title("Clean" if family == CLEAN_FAMILY else f"Under {findings.title(family)}")
    _axis(axes, sizes.values())


def _axis(axes: Axes, sizes: Collection[float]) -> None:
    axes.set_xscale("log")
    if sizes:
        # Every panel has room for every model, and is wide enough for labelled ticks.
        middle = (min(sizes) * max(sizes)) ** 0.5
        axes.set_xlim(min(min(sizes) / 1.3, middle / 3), max(max(sizes) * 1.3, middle * 3))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("Parameters (millions)")
