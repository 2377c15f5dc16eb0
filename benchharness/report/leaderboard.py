"""Several stores in one table, provided that they measured the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness.outside import escaping
from benchharness.report.cells.score import INTERVALS
from benchharness.report.formats import markdown, spreadsheet
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import conditions
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables import ranking
from benchharness.report.tables.layout import Line, score_table
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.report.cells.findings import Findings
    from benchharness.report.joining import Joined
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The models of several stores, ranked."""

    markdown: str
    csv: str


def leaderboard(joined: Joined) -> Leaderboard:
    """Rank the models of several stores per dataset and family of perturbations."""
    findings, sources = joined.findings, joined.sources
    parts = ["# Leaderboard"]
    lines: list[dict[str, Any]] = []
    for dataset in findings.datasets:
        parts += [
            f"## {escaping.markdown(dataset)}",
            markdown.table(_table(findings, dataset, sources)),
        ]
        if len(subjects(findings, dataset)) > 1:
            parts.append(markdown.table(ranking.ranking(findings, dataset)))
        lines += _lines(findings, dataset, sources)
    listing = "\n".join(
        f"- {escaping.markdown_block(f'{name}: {own.directory}')}"
        for name, own in joined.stores.items()
    )
    parts.append(f"## Sources\n\n{listing}")
    return Leaderboard(
        markdown="\n\n".join(parts) + "\n", csv=spreadsheet.document(pd.DataFrame(lines))
    )


def _table(findings: Findings, dataset: str, sources: Mapping[str, str]) -> Table:
    families = findings.families(dataset)
    lines = [
        Line(
            names=(subject.label, sources[subject.model]),
            fields=(
                scores.single(findings, subject, CLEAN_FAMILY, "accuracy"),
                scores.single(findings, subject, CLEAN_FAMILY, "auc"),
                *(scores.family_mean(findings, subject, f, "accuracy") for f in families),
            ),
        )
        for subject in subjects(findings, dataset)
    ]
    return score_table(
        f"Accuracy on {dataset}",
        ("Model", "Source", "Clean", "Clean AUC", *map(findings.title, families)),
        lines,
        caption="A family's number is the mean over all its cells. Compare models by their ranks, "
        f"not by the order of the numbers. {INTERVALS}",
    )


def _lines(findings: Findings, dataset: str, sources: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line for each model and family of a dataset, as in the CSV."""
    lines: list[dict[str, Any]] = []
    for family in (CLEAN_FAMILY, *findings.families(dataset)):
        groups = ranking.groups(findings, dataset, family)
        lines += [
            _line(findings, subject, family, groups) | {"source": sources[subject.model]}
            for subject in subjects(findings, dataset)
        ]
    return lines


def _line(
    findings: Findings, subject: Subject, family: str, groups: dict[str, int]
) -> dict[str, Any]:
    row = next(r for r in findings.rows if (r.dataset, r.model) == (subject.dataset, subject.model))
    key = row.record.cell.dataset
    accuracy, auc = (
        scores.family_mean(findings, subject, family, metric) for metric in ("accuracy", "auc")
    )
    return {
        "dataset": key.name,
        "n": key.count,
        "of": key.total,
        "family": family,
        "model": subject.model,
        "seeds": " ".join(str(seed) for seed in subject.seeds if seed is not None) or None,
        "group": groups.get(subject.label),
        "cells": len(conditions(findings, subject.dataset, family)),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "auc": auc.value,
        "auc_low": auc.low,
        "auc_high": auc.high,
        "suspect": accuracy.suspect or None,
        "gap": accuracy.gap or None,
    }
