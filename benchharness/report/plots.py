"""Scores → figures, through matplotlib's objects alone: no pyplot, no state, no display."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchharness.report import needed, scores
from benchharness.report.collect import CLEAN, METRICS, Metric, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.collect import Findings
    from benchharness.report.scores import Condition, Subject

# Okabe & Ito (2008), Color Universal Design, without black (the axes') and yellow (pale on white).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Six colours and seven markers have no common factor: 42 models differ in both together."""

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    # Element ids of an SVG are hashes salted at random unless this is set.
    "svg.hashsalt": "benchharness",
    "xtick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.color": "#444444",
    "ytick.labelsize": 8,
}

Panel = TypeVar("Panel")

_RESOLUTION = 180
_ACROSS = 4
"""Panels side by side before a row is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure, rendered."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    png: bytes
    svg: bytes


def slug(text: str) -> str:
    """A label as a file's name: lower case, with underscores for everything unusual."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def against_parameters(findings: Findings, dataset: str | None) -> Plot:
    """Accuracy and AUC over the number of parameters, clean and under each family.

    Args:
        findings: The store.
        dataset: Which one; None averages over datasets.
    """
    datasets = scores.averaged(findings) if dataset is None else (dataset,)
    families = tuple(dict.fromkeys(f for name in datasets for f in findings.families(name)))
    models = tuple(m for m in findings.models if any(findings.seeds(d, m) for d in datasets))
    costs = (findings.cost(model, dataset) for model in models)
    sizes = [cost.parameters / 1e6 for cost in costs if cost is not None]
    metrics: tuple[Metric, ...] = ("accuracy", "auc")
    panels = [(metric, family) for metric in metrics for family in (CLEAN, *families)]

    def draw(axes: Axes, panel: tuple[Metric, str]) -> None:
        metric, family = panel
        for model in models:
            cost = findings.cost(model, dataset)
            if cost is None:
                continue
            place = cost.parameters / 1e6
            if dataset is None:
                _point(
                    axes,
                    findings,
                    model,
                    place,
                    scores.over_datasets(findings, model, family, metric),
                )
                continue
            subject = scores.together(findings, dataset, model)
            _point(
                axes, findings, model, place, scores.family_mean(findings, subject, family, metric)
            )
            for seed in scores.each_seed(subject):
                value = _filled(scores.family_mean(findings, seed, family, metric).value)
                axes.plot(place, value, color=look(findings, model)[0], marker=".", alpha=0.5)
        axes.set_title("Clean" if family == CLEAN else f"Under {findings.title(family)}")
        _parameters_axis(axes, sizes)

    where = f"average over {len(datasets)} datasets" if dataset is None else dataset
    spread = (
        "No interval: the datasets are no sample of a population."
        if dataset is None
        else "Bars are 95 % intervals, a hollow marker is a suspect number; of several training "
        "seeds the mean and, small, each seed."
    )
    return _render(
        f"parameters_{slug(where if dataset else 'average')}",
        f"Accuracy and AUC against parameters, {where}",
        f"Means over all perturbations and severities of a family. {spread}",
        findings,
        models,
        panels,
        draw,
        across=1 + len(families),
        label=lambda panel: METRICS[panel[0]],
    )


def curves(findings: Findings, dataset: str, family: str, metric: Metric) -> Plot:
    """A metric over the severity of each perturbation of a family, from clean volumes on."""
    conditions = scores.conditions(findings, dataset, family)
    groups = {
        name: own
        for name, own in scores.by_perturbation(conditions).items()
        if any(condition.severity for condition in own)
    }
    models = tuple(m for m in findings.models if findings.seeds(dataset, m))
    attack = any(condition.attack for condition in conditions)
    panels: list[str | None] = [*groups]
    if attack and metric == "accuracy" and groups:
        panels.append(None)

    def draw(axes: Axes, panel: str | None) -> None:
        own = conditions if panel is None else groups[panel]
        for model in models:
            subject = scores.together(findings, dataset, model)
            for part in (*scores.each_seed(subject), subject):
                known = _curve(findings, part, own, metric, worst=panel is None)
                _line(axes, findings, model, known, faint=part is not subject)
        title = "Worst case, enveloped"
        if panel is not None:
            title = scores.marked(panel, plausible=own[0].plausible)
        axes.set_title(title)
        _severity_axis(axes, own)

    return _render(
        f"curves_{slug(dataset)}_{slug(family)}_{metric}",
        f"{METRICS[metric]} under {findings.title(family)}, {dataset}",
        "Bands are 95 % intervals; 0 is clean. A gap in a line is a cell that was not run, failed "
        "or is undefined; a hollow marker is a suspect number. Of several training seeds: the "
        "mean and, thin, each seed.",
        findings,
        models,
        panels,
        draw,
        across=min(_ACROSS, len(panels)),
        label=lambda _: METRICS[metric],
    )


def norms(findings: Findings, dataset: str, family: str) -> Plot:
    """Accuracy over ε as attacks without a budget tell it: the share that needs more than ε."""
    panels = needed.attacks(findings, dataset, family)
    models = tuple(m for m in findings.models if findings.seeds(dataset, m))

    def draw(axes: Axes, panel: str) -> None:
        largest = 0.0
        for model in models:
            subject = scores.together(findings, dataset, model)
            for found in needed.needed(findings, subject, panel):
                reached = found.norms[np.isfinite(found.norms)]
                limits = np.unique(np.concatenate([[0.0], reached]))
                largest = max(largest, float(np.quantile(limits, 0.95)))
                axes.step(
                    limits * 255,
                    found.standing(limits),
                    where="post",
                    color=look(findings, model)[0],
                )
        axes.set_title(panel)
        axes.set_xlim(0, 1.02 * largest * 255 or 1)
        axes.set_xlabel("ε × 255")

    return _render(
        f"norms_{slug(dataset)}_{slug(family)}",
        f"Accuracy by the norm needed, {findings.title(family)}, {dataset}",
        "The share of volumes that are classified rightly and that the attack could not change "
        "within ε. The axis ends at the 95th percentile.",
        findings,
        models,
        panels,
        draw,
        across=min(_ACROSS, len(panels)),
        label=lambda _: "Accuracy",
    )


def plots(findings: Findings) -> Iterator[Plot]:
    """Every figure of a report."""
    if len(scores.averaged(findings)) > 1:
        yield against_parameters(findings, None)
    for dataset in findings.datasets:
        yield from of_dataset(findings, dataset)


def of_dataset(findings: Findings, dataset: str) -> Iterator[Plot]:
    """The figures of one dataset."""
    yield against_parameters(findings, dataset)
    for family in findings.families(dataset):
        if any(c.severity for c in scores.conditions(findings, dataset, family)):
            yield curves(findings, dataset, family, "accuracy")
            yield curves(findings, dataset, family, "auc")
        if needed.attacks(findings, dataset, family):
            yield norms(findings, dataset, family)


def look(findings: Findings, model: str) -> tuple[str, str]:
    """Colour and marker of a model: the same in every figure of a store."""
    place = findings.models.index(model)
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def _point(axes: Axes, findings: Findings, model: str, place: float, score: Score) -> None:
    if score.value is None:
        return
    colour, marker = look(findings, model)
    bars = None
    if score.low is not None and score.high is not None:
        bars = [[score.value - score.low], [score.high - score.value]]
    axes.errorbar(
        [place],
        [score.value],
        yerr=bars,
        color=colour,
        marker=marker,
        markerfacecolor="white" if score.suspect else colour,
        markersize=7,
        elinewidth=1.2,
        capsize=2.5,
    )


def _curve(
    findings: Findings,
    subject: Subject,
    conditions: Sequence[Condition],
    metric: Metric,
    *,
    worst: bool,
) -> list[tuple[float, Score]]:
    """(severity, score) from clean volumes on; of the worst case over all conditions if asked."""
    start = scores.single(findings, subject, CLEAN, metric)
    known = {c.severity: c.label for c in conditions if c.severity}
    points = [(0.0, start)]
    for severity in sorted(known):
        score = (
            scores.worst_case(findings, subject, conditions, severity)
            if worst
            else scores.single(findings, subject, known[severity], metric)
        )
        points.append((severity, score))
    return points


def _line(
    axes: Axes,
    findings: Findings,
    model: str,
    points: Sequence[tuple[float, Score]],
    *,
    faint: bool,
) -> None:
    colour, marker = look(findings, model)
    places = [place for place, _ in points]
    values = [_filled(score.value) for _, score in points]
    if faint:
        axes.plot(places, values, color=colour, linewidth=0.8, alpha=0.5)
        return
    lows = [_filled(score.low) for _, score in points]
    highs = [_filled(score.high) for _, score in points]
    axes.fill_between(places, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, values, color=colour, marker=marker)
    suspect = [(place, score.value) for place, score in points if score.suspect]
    axes.plot(
        [place for place, _ in suspect],
        [_filled(value) for _, value in suspect],
        color=colour,
        linestyle="none",
        marker=marker,
        markerfacecolor="white",
    )


def _filled(value: float | None) -> float:
    return float("nan") if value is None else value


def _parameters_axis(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xscale("log")
    if sizes:
        # Every panel has room for every model, and is wide enough for labelled ticks.
        middle = (min(sizes) * max(sizes)) ** 0.5
        axes.set_xlim(min(min(sizes) / 1.3, middle / 3), max(max(sizes) * 1.3, middle * 3))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("Parameters (millions)")


def _severity_axis(axes: Axes, conditions: Sequence[Condition]) -> None:
    steps = sorted({c.severity for c in conditions if c.severity})
    # The same axis for every model, whether or not its last cells were run.
    axes.set_xlim(-0.04 * steps[-1], 1.04 * steps[-1])
    if not conditions[0].attack:
        axes.set_xticks([0, *steps], ["0", *(f"{step:g}" for step in steps)])
        axes.set_xlabel("Severity level (0 is clean)")
    elif steps[-1] <= 1:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 255:.3g}"))
        ticks = [0.0, *steps]
        if len(ticks) <= 7 and all(
            b - a > steps[-1] / 9 for a, b in zip(ticks, steps, strict=False)
        ):
            axes.set_xticks(ticks)
        axes.set_xlabel("ε × 255")
    else:
        axes.set_xlabel("Number changed")


def _render(
    name: str,
    title: str,
    caption: str,
    findings: Findings,
    models: Sequence[str],
    panels: Sequence[Panel],
    draw: Callable[[Axes, Panel], None],
    *,
    across: int,
    label: Callable[[Panel], str],
) -> Plot:
    with mpl.rc_context(_STYLE):
        down = -(-len(panels) // across)
        figure = Figure(figsize=(max(2.7 * across, 4.6), 2.5 * down + 1.2), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False, sharey="row")
        for index, axes in enumerate(grid.flat):
            if index >= len(panels):
                axes.set_axis_off()
                continue
            draw(axes, panels[index])
            axes.set_ylim(-0.02, 1.02)
            if index % across == 0:
                axes.set_ylabel(label(panels[index]))
        figure.suptitle(title, x=0.01, ha="left")
        handles = [
            Line2D([], [], color=colour, marker=marker, label=model)
            for model in models
            for colour, marker in (look(findings, model),)
        ]
        columns = max(1, min(len(handles), int(figure.get_figwidth() // 2.2)))
        figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=_RESOLUTION, metadata={"Software": None})
        # The layout that was just found holds for both; finding it takes as long as drawing.
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return Plot(name=name, title=title, caption=caption, png=png.getvalue(), svg=svg.getvalue())
