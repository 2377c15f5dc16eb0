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
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Score
    from benchharness.report.scoring.conditions import Condition

FEW = 4
"""A family of up to this many perturbations has a column for each in the overview."""


def overview(findings: Findings, dataset: str, *, each_seed: bool = True) -> Table:
    """One dataset at a glance: each model on clean volumes and under every perturbation.

    Args:
        findings: The store.
        dataset: Which one.
        each_seed: Whether to list each training seed below the mean of several.
    """
    columns = [
        column
        for family in findings.families(dataset)
        for column in _overview_columns(findings, dataset, family)
    ]
    lines = [
        Line(
            names=(subject.label,),
            fields=(
                _millions(findings, subject.model, dataset),
                scores.single(findings, subject, CLEAN_FAMILY, "accuracy"),
                scores.single(findings, subject, CLEAN_FAMILY, "auc"),
                *(scores.mean(findings, subject, wanted, "accuracy") for _, wanted in columns),
            ),
        )
        for subject in subjects(findings, dataset, each=each_seed)
    ]
    return score_table(
        f"Overview of {dataset}",
        ("Model", "Params (M)", "Clean", "Clean AUC", *(heading for heading, _ in columns)),
        lines,
        caption="Accuracy, unless a column says AUC. Attacks at their largest severity, artefacts "
        f"as the mean over their levels. {INTERVALS}",
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


def average(findings: Findings) -> Table:
    """Means over datasets: clean, and under each family of perturbations."""
    datasets = scores.averaged(findings)
    families = (
        CLEAN_FAMILY,
        *dict.fromkeys(f for dataset in datasets for f in findings.families(dataset)),
    )
    lines = []
    for model in findings.models:
        fields: list[Score | float | None] = [_millions(findings, model)]
        for family in families:
            fields += [
                scores.over_datasets(findings, model, family, metric)
                for metric in ("accuracy", "auc")
            ]
        lines.append(Line(names=(model,), fields=tuple(fields)))
    headings = (
        f"{unit} {findings.title(family)}" for family in families for unit in ("Acc.", "AUC")
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
