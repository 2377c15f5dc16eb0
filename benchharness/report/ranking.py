"""Ranks by groups that the volumes cannot tell apart, never by point value."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.report import scores
from benchharness.report.collect import CLEAN, pairs, patients
from benchharness.report.layout import Table, text_table
from benchharness.statistics import uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.collect import Findings, Row

_ALPHA = 0.05


def ranking(findings: Findings, dataset: str) -> Table:
    """The group of every model, clean and under each family of perturbations."""
    families = (CLEAN, *findings.families(dataset))
    subjects = [s for s in scores.subjects(findings, dataset) if len(s.seeds) == 1]
    columns = [groups(findings, dataset, family) for family in families]
    return text_table(
        f"Ranks on {dataset}",
        ("Model", *(findings.title(family) for family in families)),
        [
            (subject.label, *(column.get(subject.label) for column in columns))
            for subject in subjects
        ],
        caption="By mean accuracy over a family. Models of one number are in one group: the "
        "volumes do not tell its members from its best. Exact McNemar tests on clean volumes, "
        f"paired bootstraps on means, Holm's adjustment over all pairs, α = {_ALPHA}. A dash: a "
        "cell is missing, failed or suspect. Training seeds are ranked one by one."
        + _on_patients(findings, dataset),
    )


def _on_patients(findings: Findings, dataset: str) -> str:
    if patients(findings.of(dataset)) is None:
        return ""
    return " All tests are bootstraps that resample patients with all their volumes."


def groups(findings: Findings, dataset: str, family: str) -> dict[str, int]:
    """Rank what can be ranked.

    Returns:
        By a subject's label its group, 1 the best. Absent are those that lack a cell of the family
        or have a suspect one.
    """
    wanted = scores.conditions(findings, dataset, family)
    ranked: dict[str, list[Row]] = {}
    for subject in scores.subjects(findings, dataset):
        if len(subject.seeds) > 1:
            continue
        rows = scores.gather(findings, subject, subject.seeds[0], wanted)
        if isinstance(rows, list) and not any(row.suspicion for row in rows):
            ranked[subject.label] = rows
    if not ranked:
        return {}
    single = all(len(rows) == 1 for rows in ranked.values())
    if single and patients(next(iter(ranked.values()))) is None:
        correct = [rows[0].correct for rows in ranked.values()]
        found = statistics.indistinguishable_groups(
            np.stack([verdicts for verdicts in correct if verdicts is not None]), _ALPHA
        )
    else:
        found = _of_means(findings, list(ranked.values()))
    return dict(zip(ranked, found, strict=True))


def _of_means(findings: Findings, models: Sequence[Sequence[Row]]) -> tuple[int, ...]:
    cells = [pairs(rows) for rows in models]
    places = list(combinations(range(len(models)), 2))
    whom = patients(models[0])
    tests = [uncertainty.paired_bootstrap("accuracy", cells[i], cells[j], whom) for i, j in places]
    different = np.zeros((len(models), len(models)), dtype=np.bool_)
    for (i, j), p_value in zip(places, statistics.holm([t.p_value for t in tests]), strict=True):
        different[i, j] = different[j, i] = p_value < _ALPHA
    values = [findings.mean(rows, "accuracy").value for rows in models]
    return statistics.rank_groups([value for value in values if value is not None], different)
