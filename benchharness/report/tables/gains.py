"""What one network gains over another on the same volumes, with a test for each pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import statistics
from benchharness.report.cells.rows import pairs, patients
from benchharness.report.tables.layout import SUSPECT, Entry, Note, text_table
from benchharness.statistics import uncertainty
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table

_ALPHA = 0.05
METRICS = ("auc", "accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two networks on one dataset."""

    names: tuple[object, ...]
    """Of its row."""
    new: Subject
    """Who gains."""
    base: Subject
    """Over whom."""
    conditions: tuple[str, ...] = (CLEAN_FAMILY,)
    """What both met, as cells are labelled; the mean over them is compared."""


def gains(
    findings: Findings,
    title: str,
    header: Sequence[str],
    compared: Iterable[Pair],
    *,
    kind: str,
    metrics: Sequence[str] = METRICS,
    said: str = "",
) -> Table:
    """A table of tests, adjusted over its rows by Holm's method.

    Args:
        findings: Of the store.
        title: Of the table.
        header: Of the columns that name a row.
        compared: A pair that shares no cell, or whose metric is undefined, has no row.
        kind: Of the table, as `--tables` chooses it.
        metrics: By each of which every pair is compared.
        said: What the caption adds.
    """
    found = [
        ((*pair.names, metric), test, doubt)
        for pair in compared
        for metric in metrics
        for test, doubt in _tests(findings, pair, metric)
    ]
    adjusted = statistics.holm([test.p_value for _, test, _ in found])
    table = text_table(
        title,
        (*header, "Metric", "Gain", "95 % interval", "p (Holm)"),
        [
            (
                *names,
                Entry(
                    text=f"{test.difference:+.3f}",
                    order=test.difference,
                    marks=SUSPECT if doubt else "",
                ),
                f"[{test.interval.low:+.3f}, {test.interval.high:+.3f}]",
                p_value,
            )
            for (names, test, doubt), p_value in zip(found, adjusted, strict=True)
        ],
        caption="Paired over the test volumes, by a bootstrap of the mean over the training seeds "
        f"that both have; adjusted over all rows of this table, α = {_ALPHA}.{said}",
        kinds=(kind,),
    )
    doubts = dict.fromkeys(doubt for _, _, doubt in found if doubt)
    notes = (Note(sign=SUSPECT, text=f"A side is suspect: {doubt}.") for doubt in doubts)
    return replace(table, notes=tuple(notes))


def _tests(
    findings: Findings, pair: Pair, metric: str
) -> Iterator[tuple[statistics.Comparison, str]]:
    """The test and why a side is suspect; none where they share no cell, or it is undefined."""
    new, base = (_rows(findings, subject, pair.conditions) for subject in (pair.new, pair.base))
    shared = [key for key in new if key in base]
    own, other = ([rows[key] for key in shared] for rows in (new, base))
    if not shared or any(metric in row.record.undefined for row in (*own, *other)):
        return
    doubt = next((f"{row.model}, {row.condition}" for row in (*own, *other) if row.suspicion), "")
    yield uncertainty.paired_bootstrap(metric, pairs(own), pairs(other), patients(own)), doubt


def _rows(
    findings: Findings, subject: Subject, conditions: Sequence[str]
) -> dict[tuple[int | None, str], Row]:
    """The cells that have predictions, by training seed and condition."""
    found = {
        (seed, label): findings.find(subject.dataset, subject.model, seed, label)
        for seed in subject.seeds
        for label in conditions
    }
    return {
        key: row for key, row in found.items() if row is not None and row.predictions is not None
    }
