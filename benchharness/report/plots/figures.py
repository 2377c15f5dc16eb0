"""The report's figures one by one, for a notebook or a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchharness.errors import BenchError, unknown_name
from benchharness.report.choice import Choice
from benchharness.report.collect import collect
from benchharness.report.plots import costs, norms, reliability, severities
from benchharness.report.plots.canvas import drawn
from benchharness.report.scoring.conditions import conditions
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from matplotlib.figure import Figure

    from benchharness.report.cells.findings import Findings


def against_parameters(
    source: str | PathLike[str],
    dataset: str | None = None,
    *,
    metrics: Sequence[str] = ("accuracy", "auc"),
) -> Figure:
    """Accuracy and AUC over the number of parameters, clean and under each family.

    Args:
        source: Folder of a run, file of a baseline, or a result.
        dataset: Which one; None takes the only one, and averages over several.
        metrics: One row of panels each.

    Raises:
        BenchError: When there is nothing to draw, or a name is unknown.
    """
    return against_cost(source, "parameters", dataset, metrics=metrics)


def against_cost(
    source: str | PathLike[str],
    measure: str = "parameters",
    dataset: str | None = None,
    *,
    metrics: Sequence[str] = ("accuracy", "auc"),
    style: str = "report",
    width: str = "",
) -> Figure:
    """Accuracy and AUC over what networks cost, each clean score joined to its perturbed ones.

    Args:
        source: Folder of a run, file of a baseline, or a result.
        measure: `parameters`, `flops` or `latency`.
        dataset: Which one; None takes the only one, and averages over several.
        metrics: One row of panels each.
        style: `report`, `paper`, a style of matplotlib, or a file that ends in `.mplstyle`.
        width: `column`, `page`, or inches; by default as the panels need.

    Raises:
        BenchError: When there is nothing to draw, or a name is unknown.
    """
    findings = collect(Path(source))
    if measure not in costs.MEASURES:
        raise unknown_name("cost", measure, costs.MEASURES)
    if dataset is not None or len(findings.datasets) == 1:
        dataset = _dataset(findings, dataset)
    choice = Choice.of(metrics=metrics, style=style, width=width)
    return drawn(costs.against_cost(findings, dataset, measure, choice), choice)


def over_severities(
    source: str | PathLike[str],
    family: str,
    dataset: str | None = None,
    *,
    metric: str = "accuracy",
) -> Figure:
    """A metric over the severity of each perturbation of a family, starting with clean volumes.

    Args:
        source: Folder of a run, file of a baseline, or a result.
        family: An attack's norm (`linf`, `l2`, …) or an artefact's group (`mr`, `ct`, …).
        dataset: Which one; None takes the only one.
        metric: A metric of the report.

    Raises:
        BenchError: When there is nothing to draw, or a name is unknown.
    """
    findings = collect(Path(source))
    name = _dataset(findings, dataset)
    chosen = Choice.of(metrics=(metric,)).metrics[0]
    return drawn(severities.curves(findings, name, _family(findings, name, family), chosen))


def norms_needed(
    source: str | PathLike[str], family: str = "linf", dataset: str | None = None
) -> Figure:
    """Accuracy over ε by attacks without a budget: the share of volumes that needs more.

    Args:
        source: Folder of a run, file of a baseline, or a result.
        family: The norm, `linf` or `l2`.
        dataset: Which one; None takes the only one.

    Raises:
        BenchError: When there is nothing to draw, or a name is unknown.
    """
    findings = collect(Path(source))
    name = _dataset(findings, dataset)
    chart = norms.norms(findings, name, _family(findings, name, family))
    if not chart.panels:
        raise BenchError(
            f"no attack on {name} reports the {family} norm it needed. Run cw, deepfool or fab."
        )
    return drawn(chart)


def reliabilities(source: str | PathLike[str], dataset: str | None = None) -> Figure:
    """Accuracy over confidence, clean and under each family.

    Args:
        source: Folder of a run, file of a baseline, or a result.
        dataset: Which one; None takes the only one.

    Raises:
        BenchError: When there is nothing to draw, or a name is unknown.
    """
    findings = collect(Path(source))
    name = _dataset(findings, dataset)
    for chart in reliability.reliabilities(findings, name):
        return drawn(chart)
    raise BenchError(f"no cell of {name} has predictions. Run its cells first.")


def _dataset(findings: Findings, name: str | None) -> str:
    if name is None:
        if len(findings.datasets) > 1:
            known = ", ".join(findings.datasets)
            raise BenchError(f"several datasets are there: {known}. Name one.")
        return findings.datasets[0]
    if name not in findings.datasets:
        raise unknown_name("dataset", name, findings.datasets)
    return name


def _family(findings: Findings, dataset: str, name: str) -> str:
    known = [one for one in findings.families(dataset) if one != CLEAN_FAMILY]
    if name not in known or not conditions(findings, dataset, name):
        raise unknown_name("family", name, known)
    return name
