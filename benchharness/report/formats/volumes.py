"""Findings as a DataFrame, one line a volume and cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness.statistics import metrics
from benchharness.store.cells import CLEAN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.store.predictions import Predictions

COLUMNS = (
    "model",
    "dataset",
    "perturbation",
    "severity",
    "seed",
    "id",
    "patient",
    "label",
    "prediction",
    "margin",
    "correct",
    "broken",
    "suspect",
    "identity",
)


def frame(findings: Findings, identities: Collection[str]) -> pd.DataFrame:
    """What each volume got in each of some cells.

    Args:
        findings: The store, whose clean cells say what was right before.
        identities: The cells to show; one that failed has no volumes.

    Returns:
        Columns as `COLUMNS`: `margin` is the label's logit less the largest other one; `broken`
        says whether the volume is wrong here and was right when clean, and is missing where the
        clean cell is; `patient` is missing where the dataset does not say.
    """
    clean = {_network(row): _right(row) for row in findings.rows if row.key == CLEAN}
    everything = (*findings.rows, *findings.controls)
    wanted = (row for row in everything if row.record.identity in identities)
    return pd.DataFrame(_lines(wanted, clean), columns=list(COLUMNS))


def _network(row: Row) -> tuple[str, str, int | None]:
    return row.model, row.dataset, row.seed


def _right(row: Row) -> dict[str, bool]:
    """Whether a volume was classified correctly, by its id."""
    if row.predictions is None or row.correct is None:
        return {}
    return dict(zip(row.predictions.ids.tolist(), row.correct.tolist(), strict=True))


def _lines(
    rows: Iterable[Row], clean: dict[tuple[str, str, int | None], dict[str, bool]]
) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row.predictions is not None:
            yield from _volumes(row, row.predictions, clean.get(_network(row), {}))


def _volumes(row: Row, found: Predictions, clean: dict[str, bool]) -> Iterator[dict[str, Any]]:
    patients = [None] * len(found.ids) if found.patients is None else found.patients.tolist()
    columns = zip(
        found.ids.tolist(),
        patients,
        found.labels.tolist(),
        metrics.predicted_classes(found.logits).tolist(),
        metrics.margins(found.labels, found.logits).tolist(),
        metrics.correct(found.labels, found.logits).tolist(),
        strict=True,
    )
    for name, patient, label, prediction, margin, correct in columns:
        before = clean.get(name)
        yield {
            "model": row.model,
            "dataset": row.dataset,
            "perturbation": row.perturbation,
            "severity": row.key.severity,
            "seed": row.seed,
            "id": name,
            "patient": patient,
            "label": label,
            "prediction": prediction,
            "margin": margin,
            "correct": correct,
            "broken": None if before is None else before and not correct,
            "suspect": bool(row.suspicion),
            "identity": row.record.identity,
        }
