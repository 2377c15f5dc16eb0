"""The stores of many people in one table, as long as they measured the same thing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness.errors import BenchError
from benchharness.report import layout, ranking, scores
from benchharness.report.collect import CLEAN, Findings, collect
from benchharness.report.layout import Line, score_table
from benchharness.store.cells import condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.collect import Row
    from benchharness.report.layout import Table
    from benchharness.report.scores import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """What several stores say together."""

    markdown: str
    csv: str


def leaderboard(directories: Sequence[Path]) -> Leaderboard:
    """Rank the models of several stores per dataset and family of perturbations.

    Args:
        directories: Folders of runs, or files of baselines.

    Raises:
        BenchError: When one cannot be read, or two cells of one name are not the same measurement:
            other data or volumes, another threat model (parameters, seed), another version of an
            attack or artefact.
    """
    names = _names(directories)
    found = [(name, collect(path)) for name, path in zip(names, directories, strict=True)]
    _refuse_mixing(found)
    findings, sources = _together(found)
    parts = ["# Leaderboard"]
    lines: list[dict[str, Any]] = []
    for dataset in findings.datasets:
        parts += [f"## {dataset}", layout.markdown(_table(findings, dataset, sources))]
        if len(scores.subjects(findings, dataset)) > 1:
            parts.append(layout.markdown(ranking.ranking(findings, dataset)))
        lines += _lines(findings, dataset, sources)
    listing = "\n".join(f"- {name}: {path}" for name, path in zip(names, directories, strict=True))
    parts.append(f"## Sources\n\n{listing}")
    return Leaderboard(
        markdown="\n\n".join(parts) + "\n", csv=pd.DataFrame(lines).to_csv(index=False)
    )


def _names(directories: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where that is not unique."""
    short = [path.resolve().name for path in directories]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else str(path)
        for name, path in zip(short, directories, strict=True)
    ]


def _refuse_mixing(found: Sequence[tuple[str, Findings]]) -> None:
    known: dict[tuple[str, ...], tuple[str, dict[str, object]]] = {}
    complaints: dict[str, None] = {}
    for source, findings in found:
        for row in findings.rows:
            for place, parts in _measurement(row):
                first, expected = known.setdefault(place, (source, parts))
                differing = [
                    f"{name} {expected.get(name, 'absent')} in {first}, "
                    f"{parts.get(name, 'absent')} in {source}"
                    for name in {**expected, **parts}
                    if expected.get(name) != parts.get(name)
                ]
                if differing:
                    complaints[f"{' on '.join(place)}: {'; '.join(differing)}"] = None
    if complaints:
        shown = ". ".join(list(complaints)[:3])
        more = f". And {len(complaints) - 3} more" if len(complaints) > 3 else ""
        raise BenchError(
            f"these are not the same measurements. {shown}{more}. Leave one store out, or run it "
            "again with the same data, parameters and version."
        )


def _measurement(row: Row) -> tuple[tuple[tuple[str, ...], dict[str, object]], ...]:
    """What must be the same for one name of a dataset, and for one condition on it."""
    data, key = row.record.cell.dataset, row.record.cell.perturbation
    where = condition(key)
    return (
        (
            (data.name,),
            {
                "data": data.digest,
                "split": data.split,
                "volumes": f"{data.count} of {data.total} ({data.volumes[:8]})",
            },
        ),
        (
            (where, data.name),
            {
                "version": key.version,
                "family": key.family,
                "perturbation seed": key.seed,
                **dict(key.parameters),
            },
        ),
    )


def _together(found: Sequence[tuple[str, Findings]]) -> tuple[Findings, dict[str, str]]:
    """All rows, each identity once; a model that several stores have carries its store's name.

    Returns:
        The findings, and the store's name by a model's label.
    """
    owners = Counter(model for _, findings in found for model in findings.models)
    rows: dict[str, Row] = {}
    sources: dict[str, str] = {}
    for source, findings in found:
        for row in findings.rows:
            label = row.model if owners[row.model] == 1 else f"{row.model} ({source})"
            if rows.setdefault(row.record.identity, replace(row, model=label)).model == label:
                sources[label] = source
    return Findings(Path(), tuple(rows.values())), sources


def _table(findings: Findings, dataset: str, sources: dict[str, str]) -> Table:
    families = findings.families(dataset)
    lines = [
        Line(
            names=(subject.label, sources[subject.model]),
            fields=(
                scores.single(findings, subject, CLEAN, "accuracy"),
                scores.single(findings, subject, CLEAN, "auc"),
                *(scores.family_mean(findings, subject, f, "accuracy") for f in families),
            ),
        )
        for subject in scores.subjects(findings, dataset)
    ]
    return score_table(
        f"Accuracy on {dataset}",
        ("Model", "Source", "Clean", "Clean AUC", *(f"{findings.title(f)}" for f in families)),
        lines,
        caption="Families are means over all their cells. Brackets hold 95 % intervals; read the "
        "ranks, not the order of the numbers.",
    )


def _lines(findings: Findings, dataset: str, sources: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each model and family of a dataset, as the CSV holds it."""
    lines: list[dict[str, Any]] = []
    for family in (CLEAN, *findings.families(dataset)):
        groups = ranking.groups(findings, dataset, family)
        lines += [
            _line(findings, subject, family, groups) | {"source": sources[subject.model]}
            for subject in scores.subjects(findings, dataset)
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
        "cells": len(scores.conditions(findings, subject.dataset, family)),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "auc": auc.value,
        "auc_low": auc.low,
        "auc_high": auc.high,
        "suspect": accuracy.suspect or None,
        "gap": accuracy.gap or None,
    }
