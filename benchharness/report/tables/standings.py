"""Who stands where in a leaderboard: worst cases first, each with its certificate and a command."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.subjects import subjects
from benchharness.report.scoring.threats import threats
from benchharness.report.scoring.training import settings, trained_with
from benchharness.report.tables.layout import Entry, Line, Table, score_table, text_table
from benchharness.store.cells import CLEAN_FAMILY, format_budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.scoring.threats import Threat

_OURS = ("medvit3d.", "baselines.")
"""Factories of models that are known by a name."""


def standings(
    findings: Findings, dataset: str, sources: Mapping[str, str], pages: Mapping[str, str]
) -> tuple[Table, Table]:
    """The models of several stores on one dataset, and how to measure each again.

    Args:
        findings: Of all stores.
        dataset: Its label.
        sources: The store of each model.
        pages: The address of each store's page.

    Returns:
        Sorted by each model's lowest worst case, the highest first; suspect and incomplete ones
        follow.
    """
    met = tuple(threats(findings, dataset))
    found = [
        (subject, [_score(findings, subject, threat) for threat in met])
        for subject in subjects(findings, dataset, each=False)
    ]
    found.sort(key=lambda one: _place(one[1]))
    table = score_table(
        f"Worst cases on {dataset}",
        ("Model", "Trained with", *(_title(findings, threat) for threat in met), "Clean"),
        [
            Line(
                names=(subject.label, trained_with(settings(findings, subject))),
                fields=(*worst, scores.single(findings, subject, CLEAN_FAMILY, "accuracy")),
            )
            for subject, worst in found
        ],
        caption="Accuracy. Under attacks a volume counts if none of the norm's attacks up to the "
        "largest budget breaks it; of artefacts the plausible one that harms most. Sorted by the "
        "lowest of these, suspect and incomplete models last. Neighbours may be equal: see the "
        f"ranks. {INTERVALS}",
    )
    more = [
        (
            Entry(text=sources[subject.model], href=pages[sources[subject.model]]),
            Entry(text=_certificate(_rows(findings, subject))),
        )
        for subject, _ in found
    ]
    known = replace(
        table,
        header=(*table.header, "Store", "Certificate"),
        rows=tuple((*row, *own) for row, own in zip(table.rows, more, strict=True)),
    )
    return known, _commands(findings, dataset, [subject for subject, _ in found])


def _commands(findings: Findings, dataset: str, found: Sequence[Subject]) -> Table:
    return text_table(
        f"How to measure again on {dataset}",
        ("Model", "Command"),
        [
            (subject.label, Entry(text=command(_rows(findings, subject)), code=True))
            for subject in found
        ],
        caption="Commands use the defaults of each attack and artefact. Where a run chose other "
        "parameters, its store's page lists them under Provenance; a leaderboard refuses stores "
        "that differ in them.",
    )


def _title(findings: Findings, threat: Threat) -> str:
    if threat.limit is None:
        return "Worst artefact"
    return f"{findings.title(threat.family)} ≤ {format_budget(threat.limit)}"


def _score(findings: Findings, subject: Subject, threat: Threat) -> Score:
    wanted, limit = threat.wanted, threat.limit
    if limit is None:
        found = [scores.single(findings, subject, c.label, "accuracy") for c in wanted]
        gap = next((score for score in found if score.value is None), None)
        return gap or min(found, key=lambda score: score.value or 0.0)
    return scores.worst_case(findings, subject, wanted, limit, witnessed=threat.witnessed)


def _place(worst: Sequence[Score]) -> tuple[bool, list[float]]:
    doubtful = any(score.value is None or score.suspect for score in worst)
    return doubtful, sorted(-(score.value or 0.0) for score in worst)[::-1]


def _rows(findings: Findings, subject: Subject) -> list[Row]:
    return [row for row in findings.of(subject.dataset) if row.model == subject.model]


def _certificate(rows: Sequence[Row]) -> str:
    """What the checks of a model's cells found, in words."""
    suspect = [row for row in rows if row.suspicion]
    if suspect:
        return f"{len(suspect)} of {len(rows)} cells suspect: {suspect[0].suspicion}"
    verdicts = Counter(check.verdict for row in rows for check in row.record.certificate)
    if not verdicts["passed"]:
        return "unchecked"
    return f"{verdicts['passed']} checks passed, none failed"


def command(rows: Sequence[Row]) -> str:
    """What to type to measure a model's cells again; parameters are those of each default."""
    cell = rows[0].record.cell
    known = cell.model.factory.startswith(_OURS)
    words = ["bench", "run", "--models", cell.model.name if known else cell.model.factory]
    if cell.checkpoint.recipe_name:
        words += ["--recipes", cell.checkpoint.recipe_name]
        words += ["--seeds", _listed({str(row.seed): row.seed or 0 for row in rows})]
    else:
        words += ["--checkpoint", f"{cell.model.name}=FILE"]
    words += ["--datasets", cell.dataset.name]
    attacks, artefacts = (
        [row for row in rows if row.key.kind == kind and row.key.source is None]
        for kind in ("attack", "artefact")
    )
    if attacks:
        words += ["--attacks", ",".join(dict.fromkeys(row.key.name for row in attacks))]
    budgets = {format_budget(s): s for row in attacks if (s := row.key.severity)}
    for flag, whole in (("--eps", False), ("--counts", True)):
        own = {text: float(s) for text, s in budgets.items() if isinstance(s, int) is whole}
        words += [flag, _listed(own)] if own else []
    if artefacts:
        words += ["--artefacts", ",".join(dict.fromkeys(row.key.name for row in artefacts))]
        words += [
            "--severities",
            _listed({str(row.key.severity): row.severity or 0 for row in artefacts}),
        ]
    if cell.dataset.count < cell.dataset.total:
        words += ["--limit", str(cell.dataset.count)]
    return shlex.join(words)


def _listed(values: Mapping[str, float]) -> str:
    return ",".join(sorted(values, key=lambda text: values[text]))
