"""The section of one dataset: its overview, its plots, and every table of its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.rows import patients
from benchharness.report.cells.score import METRICS
from benchharness.report.parts import Section
from benchharness.report.plots.conditions import compared
from benchharness.report.plots.costs import against_costs, not_measured
from benchharness.report.plots.norms import norms
from benchharness.report.plots.reliability import reliabilities
from benchharness.report.plots.severities import curves
from benchharness.report.plots.tradeoff import tradeoffs
from benchharness.report.scoring import carried
from benchharness.report.scoring.conditions import conditions
from benchharness.report.scoring.harm import harms
from benchharness.report.scoring.norms import attacks as attacks_with_norms
from benchharness.report.tables import (
    cascades,
    clinical,
    corruptions,
    ranking,
    results,
    summaries,
    training,
    transfer,
)
from benchharness.report.tables import norms as norm_tables
from benchharness.statistics import patients as by_patient
from benchharness.store.cells import TRANSFER_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric
    from benchharness.report.charts.chart import Chart
    from benchharness.report.choice import Choice
    from benchharness.report.tables.layout import Table

_METRICS: tuple[Metric, ...] = ("accuracy", "auc")
"""What curves and tables over severities show unless metrics are chosen."""


def section(findings: Findings, dataset: str, choice: Choice) -> Section:
    """Everything that was measured on a dataset."""
    key = findings.of(dataset)[0].record.cell.dataset
    volumes = (
        f"All {key.total} volumes of the {key.split} split."
        if key.count == key.total
        else f"Only {key.count} of {key.total} volumes of the {key.split} split; every number "
        "below is for this subset."
    )
    return Section(
        title=dataset,
        text=f"{volumes} Modality: {key.modality}.{_on_patients(findings, dataset)}"
        f"{carried.differing(carried.stands(findings, dataset))}"
        f" {not_measured(findings, dataset)}".rstrip(),
        lead=tuple(_lead(findings, dataset, choice)),
        charts=tuple(chart for chart in charts(findings, dataset, choice) if chart.shown),
        tables=tuple(_tables(findings, dataset, choice)),
    )


def _on_patients(findings: Findings, dataset: str) -> str:
    known = by_patient.with_several_volumes(patients(findings.of(dataset)))
    if known is None:
        return ""
    count = by_patient.count(known)
    return f" Every interval and test resamples {count} patients with all their volumes."


def _lead(findings: Findings, dataset: str, choice: Choice) -> Iterator[Table]:
    yield summaries.overview(findings, dataset, metrics=choice.metrics)
    if len({row.model for row in findings.of(dataset)}) > 1:
        yield ranking.ranking(findings, dataset)
    yield from training.tables(findings, dataset)
    if harms(findings, dataset):
        yield corruptions.summary(findings, dataset)


def charts(findings: Findings, dataset: str, choice: Choice) -> Iterator[Chart]:
    """Every chart of a dataset; some may have nothing to show."""
    yield from against_costs(findings, dataset, choice)
    for metric in choice.shown(("accuracy",)):
        yield from compared(findings, dataset, metric)
    yield from tradeoffs(findings, dataset)
    for family in findings.families(dataset):
        if any(condition.severity for condition in conditions(findings, dataset, family)):
            for metric in choice.shown(_METRICS):
                yield curves(findings, dataset, family, metric)
        if attacks_with_norms(findings, dataset, family):
            yield norms(findings, dataset, family)
    yield from reliabilities(findings, dataset)


def _tables(findings: Findings, dataset: str, choice: Choice) -> Iterator[Table]:
    yield results.clean(findings, dataset, choice.shown(tuple(METRICS)))
    for family in findings.families(dataset):
        yield from _of_family(findings, dataset, family, choice)
    if harms(findings, dataset):
        yield corruptions.by_artefact(findings, dataset)
    yield clinical.calibration(findings, dataset)
    yield clinical.sensitivity(findings, dataset)


def _of_family(findings: Findings, dataset: str, family: str, choice: Choice) -> Iterator[Table]:
    if family == TRANSFER_FAMILY:
        yield from transfer.matrices(findings, dataset)
    elif any(condition.attack for condition in conditions(findings, dataset, family)):
        yield results.attacks(findings, dataset, family)
    yield from cascades.tables(findings, dataset, family)
    if attacks_with_norms(findings, dataset, family):
        yield norm_tables.table(findings, dataset, family)
    for metric in choice.shown(_METRICS):
        yield results.by_severity(findings, dataset, family, metric)
