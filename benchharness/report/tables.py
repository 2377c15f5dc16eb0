"""The tables of results: which scores stand where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report import scores
from benchharness.report.collect import CLEAN, METRICS, Metric, Score
from benchharness.report.layout import Line, Table, score_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.report.collect import Findings
    from benchharness.report.scores import Condition, Subject

FEW = 4
"""Up to so many perturbations of a family have a column each in the overview."""

_INTERVALS = "Brackets hold 95 % intervals."


def overview(findings: Findings, dataset: str, *, each_seed: bool = True) -> Table:
    """One dataset at a glance: model × clean volumes and every perturbation.

    Args:
        findings: The store.
        dataset: Which one.
        each_seed: Whether each training seed stands below the mean of several.
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
                scores.single(findings, subject, CLEAN, "accuracy"),
                scores.single(findings, subject, CLEAN, "auc"),
                *(scores.mean(findings, subject, wanted, "accuracy") for _, wanted in columns),
            ),
        )
        for subject in scores.subjects(findings, dataset, each=each_seed)
    ]
    return score_table(
        f"Overview of {dataset}",
        ("Model", "Params (M)", "Clean", "Clean AUC", *(heading for heading, _ in columns)),
        lines,
        caption="Accuracy unless it says AUC; attacks at their largest severity, artefacts as the "
        f"mean over their levels. {_INTERVALS}",
    )


def _overview_columns(
    findings: Findings, dataset: str, family: str
) -> list[tuple[str, tuple[Condition, ...]]]:
    conditions = scores.conditions(findings, dataset, family)
    groups = scores.by_perturbation(conditions)
    if len(groups) > FEW:
        return [(f"{findings.title(family)} (mean)", conditions)]
    return [
        (own[-1].label, own[-1:])
        if own[-1].attack
        else (f"{scores.marked(name, plausible=own[0].plausible)} (mean)", own)
        for name, own in groups.items()
    ]


def average(findings: Findings) -> Table:
    """Means over datasets: clean, and under each family of perturbations."""
    datasets = scores.averaged(findings)
    families = dict.fromkeys(f for dataset in datasets for f in findings.families(dataset))
    lines = []
    for model in findings.models:
        fields: list[Score | float | None] = [_millions(findings, model)]
        for family in (CLEAN, *families):
            fields += [
                scores.over_datasets(findings, model, family, metric)
                for metric in ("accuracy", "auc")
            ]
        lines.append(Line(names=(model,), fields=tuple(fields)))
    headings = (
        f"{unit} {findings.title(family)}"
        for family in (CLEAN, *families)
        for unit in ("Acc.", "AUC")
    )
    return score_table(
        f"Average over {len(datasets)} datasets",
        ("Model", "Params (M)", *headings),
        lines,
        caption=f"Unweighted means over {', '.join(datasets)}, a family over those of them on "
        "which it was run; over all its perturbations and severities, stress tests included, and "
        "over training seeds where there are several. No interval: the datasets are no sample of a "
        "population.",
    )


def clean(findings: Findings, dataset: str) -> Table:
    """Every metric on clean volumes."""
    lines = [
        Line(
            names=(subject.label,),
            fields=tuple(scores.single(findings, subject, CLEAN, metric) for metric in METRICS),
        )
        for subject in scores.subjects(findings, dataset)
    ]
    return score_table(
        f"Clean volumes of {dataset}", ("Model", *METRICS.values()), lines, caption=_INTERVALS
    )


def attacks(findings: Findings, dataset: str, family: str) -> Table:
    """Accuracy over severities: the envelope of each attack and the worst case over all."""
    conditions = scores.conditions(findings, dataset, family)
    groups = scores.by_perturbation(conditions)
    grid = _grid(conditions)
    lines = []
    for subject in scores.subjects(findings, dataset):
        for name, own in groups.items():
            lines.append(
                Line(names=(subject.label, name), fields=_worst(findings, subject, own, grid))
            )
        if len(groups) > 1:
            fields = _worst(findings, subject, conditions, grid)
            lines.append(Line(names=(subject.label, "worst case"), fields=fields))
    return score_table(
        f"Robust accuracy under {findings.title(family)} on {dataset}",
        ("Model", "Attack", *grid),
        lines,
        caption="The envelope: a volume that is wrong when clean, or that was broken at a smaller "
        "severity, counts as broken. Worst case: a volume counts as correct only if none of "
        f"these attacks broke it. {_INTERVALS}",
    )


def _worst(
    findings: Findings,
    subject: Subject,
    conditions: Sequence[Condition],
    grid: dict[str, float | None],
) -> tuple[Score | None, ...]:
    return tuple(
        None if limit is None else scores.worst_case(findings, subject, conditions, limit)
        for limit in grid.values()
    )


def by_severity(findings: Findings, dataset: str, family: str, metric: Metric) -> Table:
    """A metric over severities as run, with the mean of each perturbation and of the family."""
    conditions = scores.conditions(findings, dataset, family)
    groups = scores.by_perturbation(conditions)
    grid = _grid(conditions)
    lines = []
    for subject in scores.subjects(findings, dataset):
        for name, own in groups.items():
            labels = {condition.severity_text: condition.label for condition in own}
            cells = tuple(
                scores.single(findings, subject, labels[text], metric) if text in labels else None
                for text in grid
            )
            mean = scores.mean(findings, subject, own, metric)
            shown = scores.marked(name, plausible=own[0].plausible)
            lines.append(Line(names=(subject.label, shown), fields=(*cells, mean)))
        blanks = (None,) * len(grid)
        for heading, members in _means(conditions):
            mean = scores.mean(findings, subject, members, metric)
            title = f"{heading} {findings.title(family)}"
            lines.append(Line(names=(subject.label, title), fields=(*blanks, mean)))
    return score_table(
        f"{METRICS[metric]} under {findings.title(family)} on {dataset}",
        ("Model", "Perturbation", *grid, "Mean"),
        lines,
        caption="As run. Means are over the severities shown; their intervals resample the volumes "
        f"once for all cells. {_INTERVALS}",
    )


def _means(conditions: Sequence[Condition]) -> list[tuple[str, Sequence[Condition]]]:
    """What a family's mean is over: all of it and, where that is less, what is plausible."""
    if len(scores.by_perturbation(conditions)) < 2:
        return []
    plausible = [condition for condition in conditions if condition.plausible]
    found: list[tuple[str, Sequence[Condition]]] = [("all", conditions)]
    if 0 < len(plausible) < len(conditions):
        found.append(("plausible", plausible))
    return found


def _grid(conditions: Iterable[Condition]) -> dict[str, float | None]:
    """Severities in words and in numbers, from the weakest to the strongest."""
    found = {condition.severity_text: condition.severity for condition in conditions}
    return dict(sorted(found.items(), key=lambda item: (item[1] is None, item[1] or 0.0)))


def cost(findings: Findings) -> Table:
    """What each network costs, and on which device that was measured."""
    rows = [
        (
            row.model,
            row.dataset,
            f"{cost.parameters / 1e6:,.2f}",
            f"{cost.flops / 1e9:,.2f}",
            f"{cost.latency_ms:,.2f} (batch {cost.latency_batch})",
            None if cost.peak_memory_mib is None else f"{cost.peak_memory_mib:,.0f}",
            row.record.provenance.get("device_name"),
        )
        for row in findings.rows
        if (cost := row.record.cost) is not None
    ]
    return text_table(
        "Model cost",
        (
            "Model",
            "Dataset",
            "Params (M)",
            "GFLOPs",
            "Latency (ms per volume)",
            "Peak memory (MiB)",
            "Device",
        ),
        dict.fromkeys(rows),
        caption="One forward pass of one volume; a multiply-add counts as two operations. Latency "
        "and memory hold for the device named and for no other.",
    )


def failed(findings: Findings) -> Table:
    """Cells that have an error instead of numbers."""
    return text_table(
        "Failed cells",
        ("Model", "Dataset", "Condition", "Training seed", "Error"),
        [
            (row.model, row.dataset, row.condition, row.seed, row.record.error)
            for row in findings.failed
        ],
        caption="These have no numbers; the same 'bench run' tries them again.",
    )


def _millions(findings: Findings, model: str, dataset: str | None = None) -> float | None:
    found = findings.cost(model, dataset)
    return None if found is None else found.parameters / 1e6
