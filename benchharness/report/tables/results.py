"""The tables of measured results: clean, under attack, over severities; cost and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, METRICS
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import by_perturbation, conditions, grid, marked
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import Entry, Line, Table, score_table, text_table
from benchharness.report.tables.numbers import quantity
from benchharness.store import evidence
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric, Score
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject
    from benchharness.store.records import ModelCost


_WITNESSES = ", nor did the probe or transferred volumes where these were tried"


def clean(findings: Findings, dataset: str, metrics: Sequence[Metric] = tuple(METRICS)) -> Table:
    """Metrics on clean volumes."""
    lines = [
        Line(
            names=(subject.label,),
            fields=tuple(
                scores.single(findings, subject, CLEAN_FAMILY, metric) for metric in metrics
            ),
        )
        for subject in subjects(findings, dataset)
    ]
    return score_table(
        f"Clean volumes of {dataset}",
        ("Model", *(METRICS[metric] for metric in metrics)),
        lines,
        caption=INTERVALS,
        kinds=("clean",),
    )


def attacks(findings: Findings, dataset: str, family: str) -> Table:
    """Accuracy over severities: the envelope of each attack and the worst case over all."""
    wanted = conditions(findings, dataset, family)
    severities = grid(wanted)
    groups = by_perturbation(wanted)
    witnessed = findings.witnessed(dataset) and family in evidence.BALLS
    together = [("worst case", wanted)] if len(groups) > 1 or witnessed else []
    series = [*groups.items(), *together]
    lines = [
        Line(
            names=(subject.label, name),
            fields=_worst(findings, subject, own, severities, witnessed=own is wanted),
            about="" if own is wanted else name,
        )
        for subject in subjects(findings, dataset)
        for name, own in series
    ]
    return score_table(
        f"Robust accuracy under {findings.title(family)} on {dataset}",
        ("Model", "Attack", *severities),
        lines,
        caption="The monotone envelope: a volume counts as broken if it was misclassified when "
        "clean, or broken at this or any smaller severity. Worst case: a volume counts as correct "
        f"only if none of these attacks broke it{_WITNESSES if witnessed else ''}. {INTERVALS}",
        kinds=("attacks", family),
    )


def _worst(
    findings: Findings,
    subject: Subject,
    wanted: Sequence[Condition],
    severities: Mapping[str, float | None],
    *,
    witnessed: bool,
) -> tuple[Score | None, ...]:
    return tuple(
        None
        if limit is None
        else scores.worst_case(findings, subject, wanted, limit, witnessed=witnessed)
        for limit in severities.values()
    )


def by_severity(findings: Findings, dataset: str, family: str, metric: Metric) -> Table:
    """A metric over severities as measured, with means over each perturbation and the family."""
    wanted = conditions(findings, dataset, family)
    severities = grid(wanted)
    lines = [
        line
        for subject in subjects(findings, dataset)
        for line in (
            *_of_perturbations(findings, subject, wanted, metric),
            *_of_family(findings, subject, wanted, metric, findings.title(family)),
        )
    ]
    return score_table(
        f"{METRICS[metric]} under {findings.title(family)} on {dataset}",
        ("Model", "Perturbation", *severities, "Mean"),
        lines,
        caption="Each severity as measured, without the envelope. Means are over the severities "
        "shown; for their intervals volumes are resampled jointly across cells. " + INTERVALS,
        kinds=("severities", family),
    )


def _of_perturbations(
    findings: Findings, subject: Subject, wanted: Sequence[Condition], metric: Metric
) -> Iterator[Line]:
    """A line for each perturbation: every severity, and their mean."""
    severities = grid(wanted)
    for name, own in by_perturbation(wanted).items():
        labels = {condition.severity_text: condition.label for condition in own}
        cells = (
            scores.single(findings, subject, labels[text], metric) if text in labels else None
            for text in severities
        )
        mean = scores.mean(findings, subject, own, metric)
        shown = marked(name, plausible=own[0].plausible)
        yield Line(names=(subject.label, shown), fields=(*cells, mean), about=name)


def _of_family(
    findings: Findings, subject: Subject, wanted: Sequence[Condition], metric: Metric, title: str
) -> Iterator[Line]:
    """The mean over a family of several perturbations and, where that is less, the plausible."""
    if len(by_perturbation(wanted)) < 2:
        return
    plausible = [condition for condition in wanted if condition.plausible]
    blanks = (None,) * len(grid(wanted))
    for over, members in (("all", wanted), ("plausible", plausible)):
        if over == "all" or 0 < len(members) < len(wanted):
            mean = scores.mean(findings, subject, members, metric)
            yield Line(names=(subject.label, f"{over} {title}"), fields=(*blanks, mean))


def cost(findings: Findings) -> Table:
    """What each network costs, and on which device that was measured."""
    rows = [
        (
            row.model,
            row.dataset,
            cost.parameters / 1e6,
            cost.flops / 1e9,
            _latency(cost),
            _mebibytes(cost.peak_memory_mib),
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
        "and memory hold for the device named only.",
        kinds=("cost",),
    )


def _latency(cost: ModelCost) -> Entry:
    text = f"{quantity(cost.latency_ms)} (batch {cost.latency_batch})"
    return Entry(text=text, order=cost.latency_ms)


def _mebibytes(size: float | None) -> Entry | None:
    if size is None:
        return None
    return Entry(text=f"{size:,.0f}" if size >= 10 else quantity(size), order=size)


def failed(findings: Findings) -> Table:
    """Cells that have an error instead of numbers."""
    return text_table(
        "Failed cells",
        ("Model", "Dataset", "Condition", "Training seed", "Error"),
        [
            (row.model, row.dataset, row.condition, row.seed, row.record.error)
            for row in findings.failed
        ],
        caption="These cells have no numbers. Repeat the same 'bench run' to try them again.",
        kinds=("failed",),
    )
