"""Findings as a DataFrame, one line a cell: `summary.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness.report.cells.score import METRICS
from benchharness.report.scoring import clinical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.cells.score import Score


def frame(findings: Findings) -> pd.DataFrame:
    """One line a cell: what it is, its metrics, its cost, its status and its clinical measures.

    Controls come last, as the family `control`.
    """
    return pd.DataFrame(
        [
            _cell(row) | _metrics(findings, row) | _state(findings, row) | _clinical(findings, row)
            for row in (*findings.rows, *findings.controls)
        ]
    )


def _cell(row: Row) -> dict[str, Any]:
    cell = row.record.cell
    return {
        "model": row.model,
        "dataset": cell.dataset.name,
        "family": row.family,
        "perturbation": row.perturbation,
        "severity": cell.perturbation.severity,
        "seed": row.seed,
        "perturbation_seed": cell.perturbation.seed,
        "recipe": cell.checkpoint.recipe_name,
        "n": cell.dataset.count,
        "of": cell.dataset.total,
    }


def _metrics(findings: Findings, row: Row) -> dict[str, Any]:
    return _columns({metric: findings.cell_scores.single(row, metric) for metric in METRICS})


def _state(findings: Findings, row: Row) -> dict[str, Any]:
    cost = findings.cost(row.model, row.dataset)
    return {
        "parameters": cost.parameters if cost else None,
        "flops": cost.flops if cost else None,
        "latency_ms": cost.latency_ms if cost else None,
        "plausible": row.plausible,
        "not_applicable": row.record.inapplicable or None,
        "suspect": bool(row.suspicion),
        "suspect_reason": row.suspicion or None,
        "status": row.record.status,
        "error": row.record.error,
        "checkpoint": row.record.cell.checkpoint.sha256,
        "identity": row.record.identity,
    }


def _clinical(findings: Findings, row: Row) -> dict[str, Any]:
    scores = clinical.calibration(findings, row)
    for found in clinical.by_class(findings, row):
        scores |= {
            f"sensitivity_{found.label}": found.sensitivity,
            f"specificity_{found.label}": found.specificity,
        }
    return _columns(scores)


def _columns(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Three columns a score: its value and the ends of its interval."""
    return {
        f"{name}{end}": value
        for name, score in scores.items()
        for end, value in (("", score.value), ("_low", score.low), ("_high", score.high))
    }
