"""The overview of a dataset, and the average over datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, NO_INTERVALS
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import by_perturbation, conditions, marked
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import Line, Table, score_table
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric, Score
    from benchharness.report.scoring.conditions import Condition

_UNITS: dict[Metric, str] = {
    "accuracy": "",
    "auc": " AUC",
    "balanced_accuracy": " balanced accuracy",
}
"""What follows a heading of the overview."""

_SHORT: dict[Metric, str] = {"accuracy": "Acc.", "auc": "AUC", "balanced_accuracy": "Bal. acc."}

FEW = 4
"""A family of up to this many perturbations has a column for each in the overview."""


def overview(
    findings: Findings,
    dataset: str,
    *,
    each_seed: bool = True,
    metrics: Sequence[Metric] = (),
) -> Table:
    """One dataset at a glance: each model on clean volumes and under every perturbation.

    Args:
        findings: The store.
        dataset: Which one.
        each_seed: Whether to list each training seed below the mean of several.
        metrics: What to show; accuracy, and the AUC of clean volumes, when empty.
    """
    columns = [
        (f"{heading}{_UNITS[metric]}", wanted, metric)
        for family in findings.families(dataset)
        for heading, wanted in _overview_columns(findings, dataset, family)
        for metric in metrics or ("accuracy",)
    ]
    on_clean = metrics or ("accuracy", "auc")
    lines = [
        Line(
            names=(subject.label,),
            fields=(
                _millions(findings, subject.model, dataset),
                *(scores.single(findings, subject, CLEAN_FAMILY, metric) for metric in on_clean),
                *(scores.mean(findings, subject, wanted, metric) for _, wanted, metric in columns),
            ),
        )
        for subject in subjects(findings, dataset, each=each_seed)
    ]
    return score_table(
        f"Overview of {dataset}",
        (
            "Model",
            "Params (M)",
            *(f"Clean{_UNITS[metric]}" for metric in on_clean),
            *(heading for heading, *_ in columns),
        ),
        lines,
        caption="Accuracy, unless a column says what else. Attacks at their largest "
        f"severity, artefacts as the mean over their levels. {INTERVALS}",
        kinds=("overview",),
    )


def _overview_columns(
    findings: Findings, dataset: str, family: str
) -> list[tuple[str, tuple[Condition, ...]]]:
    wanted = conditions(findings, dataset, family)
    groups = by_perturbation(wanted)
    if len(groups) > FEW:
        return [(f"{findings.title(family)} (mean)", wanted)]
    return [
        (own[-1].label, own[-1:])
        if own[-1].attack
        else (f"{marked(name, plausible=own[0].plausible)} (mean)", own)
        for name, own in groups.items()
    ]


def average(findings: Findings, metrics: Sequence[Metric] = ()) -> Table:
    """Means over datasets: clean, and under each family of perturbations."""
    shown = metrics or ("accuracy", "auc")
    datasets = scores.averaged(findings)
    families = (
        CLEAN_FAMILY,
        *dict.fromkeys(f for dataset in datasets for f in findings.families(dataset)),
    )
    lines = []
    for model in findings.models:
        fields: list[Score | float | None] = [_millions(findings, model)]
        for family in families:
            fields += [scores.over_datasets(findings, model, family, metric) for metric in shown]
        lines.append(Line(names=(model,), fields=tuple(fields)))
    headings = (
        f"{_SHORT[metric]} {findings.title(family)}" for family in families for metric in shown
    )
    return score_table(
        f"Average over {len(datasets)} datasets",
        ("Model", "Params (M)", *headings),
        lines,
        caption=f"Unweighted means over {', '.join(datasets)}. A family is averaged over those of "
        "them on which it was run, over all its perturbations and severities (stress tests "
        f"included) and over training seeds. {NO_INTERVALS}",
        kinds=("average",),
    )


def _millions(findings: Findings, model: str, dataset: str | None = None) -> float | None:
    found = findings.cost(model, dataset)
    return None if found is None else found.parameters / 1e6
