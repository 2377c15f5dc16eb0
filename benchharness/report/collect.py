"""A store's records and predictions → findings. The only module here that opens a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.report.cells import labels
from benchharness.report.cells.findings import Findings
from benchharness.report.cells.rows import Row
from benchharness.store import matrix_checks, suspicion
from benchharness.store.folder import Store
from benchharness.store.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchharness.store.records import Record


class NothingToReportError(BenchError):
    """A store without a cell that has numbers; a run may bring one."""


def collect(directory: Path) -> Findings:
    """Read a store and label its cells.

    Args:
        directory: The store's folder, or a baseline's file.

    Raises:
        BenchError: When there is no store.
        NothingToReportError: When nothing in it could be reported.
    """
    store = open_source(directory) if directory.is_file() else Store(directory)
    records = tuple(store.records().values())
    _check(records, directory)
    models, datasets, perturbations = (
        label(records) for label in (labels.models, labels.datasets, labels.perturbations)
    )
    predictions = {r.identity: store.predictions(r) for r in records if r.predictions is not None}
    checks = matrix_checks.matrix_checks(records, predictions)
    suspicions = suspicion.by_cell(checks)
    rows = [
        Row(
            record=record,
            model=models[record.identity],
            dataset=datasets[record.identity],
            perturbation=perturbations[record.identity],
            predictions=predictions.get(record.identity),
            suspicion=suspicion.of_record(record, suspicions),
        )
        for record in records
    ]
    return Findings(
        directory,
        rows=tuple(row for row in rows if not row.record.control),
        controls=tuple(row for row in rows if row.record.control),
        checks=checks,
    )


def _check(records: Sequence[Record], directory: Path) -> None:
    if not records:
        raise NothingToReportError(
            f"no records in {directory}. Type 'bench run --out {directory}' to make some, or give "
            "the folder of another run."
        )
    failures = [record.error for record in records if record.status == "error"]
    if len(failures) == len(records):
        raise NothingToReportError(
            f"all {len(records)} cells in {directory} failed, the first with: {failures[0]} "
            f"Mend that and type 'bench run --out {directory}' again."
        )
