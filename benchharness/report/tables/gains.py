"""What one network gains over another on the same clean volumes, with a test for each pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness import statistics
from benchharness.report.cells.rows import pairs, patients
from benchharness.report.scoring.carried import clean
from benchharness.report.tables.layout import text_table
from benchharness.statistics import uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table

_ALPHA = 0.05
_METRICS = ("auc", "accuracy")


def gains(
    findings: Findings,
    title: str,
    header: Sequence[str],
    compared: Iterable[tuple[tuple[object, ...], Subject, Subject]],
    *,
    said: str = "",
) -> Table:
    """A table of tests, adjusted over its rows by Holm's method.

    Args:
        findings: Of the store.
        title: Of the table.
        header: Of the columns that name a row.
        compared: The names of a row, who gains, and over whom. A pair that shares no training
            seed, or whose metric is undefined, has no row.
        said: What the caption adds.
    """
    found = [
        ((*names, metric), test)
        for names, new, base in compared
        for metric in _METRICS
        if (test := _test(findings, new, base, metric)) is not None
    ]
    adjusted = statistics.holm([test.p_value for _, test in found])
    return text_table(
        title,
        (*header, "Metric", "Gain", "95 % interval", "p (Holm)"),
        [
            (
                *names,
                f"{test.difference:+.3f}",
                f"[{test.interval.low:+.3f}, {test.interval.high:+.3f}]",
                p_value,
            )
            for (names, test), p_value in zip(found, adjusted, strict=True)
        ],
        caption="Paired over the test volumes, by a bootstrap of the mean over the training seeds "
        f"that both have; adjusted over all rows of this table, α = {_ALPHA}.{said}",
        kinds=("sources",),
    )


def _test(
    findings: Findings, new: Subject, base: Subject, metric: str
) -> statistics.Comparison | None:
    """None where they share no training seed, or the metric is undefined."""
    of = [{row.seed: row for row in clean(findings, subject)} for subject in (new, base)]
    seeds = [seed for seed in of[0] if seed in of[1]]
    own, other = ([rows[seed] for seed in seeds] for rows in of)
    if not seeds or any(metric in row.record.undefined for row in (*own, *other)):
        return None
    return uncertainty.paired_bootstrap(metric, pairs(own), pairs(other), patients(own))
