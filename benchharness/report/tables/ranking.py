"""Ranks: groups of models that the volumes cannot tell apart, never an order of point values."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.report.cells.rows import pairs, patients
from benchharness.report.scoring.conditions import conditions
from benchharness.report.scoring.scores import gather
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import Table, text_table
from benchharness.statistics import metrics, uncertainty
from benchharness.statistics import patients as by_patient
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.statistics.basis import Patients

_ALPHA = 0.05


def ranking(findings: Findings, dataset: str) -> Table:
    """The group of every model, clean and under each family of perturbations."""
    families = (CLEAN_FAMILY, *findings.families(dataset))
    ranked = [s for s in subjects(findings, dataset) if len(s.seeds) == 1]
    columns = [groups(findings, dataset, family) for family in families]
    return text_table(
        f"Ranks on {dataset}",
        ("Model", *(findings.title(family) for family in families)),
        [(subject.label, *(column.get(subject.label) for column in columns)) for subject in ranked],
        caption="By mean accuracy over each family. Models with the same rank form a group whose "
        "members the volumes cannot tell from its best. Tests: exact McNemar on clean volumes, "
        f"paired bootstrap on means, adjusted by Holm over all pairs, α = {_ALPHA}. A dash marks "
        "a missing, failed or suspect cell. Training seeds are ranked one by one."
        + _on_patients(findings, dataset),
        kinds=("ranks",),
    )


def _on_patients(findings: Findings, dataset: str) -> str:
    if by_patient.with_several_volumes(patients(findings.of(dataset))) is None:
        return ""
    return " Here all tests are bootstraps that resample patients with all their volumes."


def groups(findings: Findings, dataset: str, family: str) -> dict[str, int]:
    """Rank the subjects that can be ranked under a family.

    Returns:
        The group of each subject by its label, 1 the best. Subjects that lack a cell of the family
        or have a suspect one are absent.
    """
    wanted = conditions(findings, dataset, family)
    ranked: dict[str, list[Row]] = {}
    for subject in subjects(findings, dataset):
        if len(subject.seeds) > 1:
            continue
        rows = gather(findings, subject, subject.seeds[0], wanted)
        if isinstance(rows, list) and not any(row.suspicion for row in rows):
            ranked[subject.label] = rows
    return _grouped(findings, ranked)


def of_cells(findings: Findings, rows: Sequence[Row]) -> dict[str, int]:
    """Rank cells of one condition on one dataset.

    Returns:
        The group of each by its identity, 1 the best. Failed and suspect cells are absent.
    """
    sound = [row for row in rows if row.predictions is not None and not row.suspicion]
    return _grouped(findings, {row.record.identity: [row] for row in sound})


def _grouped(findings: Findings, ranked: dict[str, list[Row]]) -> dict[str, int]:
    if not ranked:
        return {}
    single = all(len(rows) == 1 for rows in ranked.values())
    known = by_patient.with_several_volumes(patients([rows[0] for rows in ranked.values()]))
    if single and known is None:
        correct = [rows[0].correct for rows in ranked.values()]
        found = statistics.indistinguishable_groups(
            np.stack([verdicts for verdicts in correct if verdicts is not None]), _ALPHA
        )
    else:
        found = _of_means(findings, list(ranked.values()), known)
    return dict(zip(ranked, found, strict=True))


def _of_means(
    findings: Findings, models: Sequence[Sequence[Row]], known: Patients | None
) -> tuple[int, ...]:
    right = [np.mean([metrics.correct(*cell) for cell in pairs(rows)], axis=0) for rows in models]
    places = list(combinations(range(len(models)), 2))
    tests = [uncertainty.p_value_of_gaps(right[i] - right[j], known) for i, j in places]
    different = np.zeros((len(models), len(models)), dtype=np.bool_)
    for (i, j), p_value in zip(places, statistics.holm(tests), strict=True):
        different[i, j] = different[j, i] = p_value < _ALPHA
    values = [findings.cell_scores.mean(rows, "accuracy").value for rows in models]
    return statistics.rank_groups([value for value in values if value is not None], different)
