"""What one network gains over another on the same volumes, with a test for each pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from benchharness import statistics
from benchharness.report.cells.rows import pairs, patients
from benchharness.report.tables.layout import SUSPECT, Entry, Note, text_table
from benchharness.report.tables.numbers import quantity
from benchharness.statistics import patients as by_patient
from benchharness.statistics import uncertainty
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table

_ALPHA = 0.05
_RESAMPLES = statistics.ENDPOINT_RESAMPLES
_CLEAR = 0.01
"""Up to here more resamples are drawn, since Holm's method multiplies p by up to the rows."""
_SMALLEST = 2 / (_RESAMPLES + 1)
"""The p-value where no resample contradicts."""
_PARTIAL = "*"
_EACH = "Of each seed"
_TRAININGS = (
    ": intervals are for other volumes, and the gain of each seed shows how trainings differ"
)
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
) -> Iterator[Table]:
    """A table of tests, adjusted over its rows by Holm's method; none where nothing is shared.

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
        _Tested(pair=pair, metric=metric, rows=rows)
        for pair in compared
        for metric in metrics
        if (rows := _shared(findings, pair, metric)) is not None
    ]
    if not found:
        return
    units = dict.fromkeys(one.unit for one in found)
    each = [_EACH] if any(len(one.by_seed) > 1 for one in found) else []
    table = text_table(
        title,
        (*header, "Seeds", "Metric", "Gain", "95 % interval", *each, "p (Holm)"),
        [
            one.row(adjusted, each=bool(each))
            for one, adjusted in zip(
                found, statistics.holm([one.test.p_value for one in found]), strict=True
            )
        ],
        caption=f"Paired over the test {' or '.join(units)}, by a bootstrap of the mean over the "
        f"training seeds that both have{_TRAININGS if each else ''}; p is adjusted over all rows "
        f"of this table, α = {_ALPHA}, and ≤ says that more resamples might find less.{said}",
        kinds=(kind,),
    )
    doubts = dict.fromkeys(doubt for one in found if (doubt := one.doubt))
    notes = [Note(sign=SUSPECT, text=f"A side is suspect: {doubt}.") for doubt in doubts]
    if any(one.partial for one in found):
        notes.append(Note(sign=_PARTIAL, text="Over the cells that both sides have; some lack."))
    yield replace(table, notes=tuple(notes))


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """A pair and what a metric tells of it."""

    pair: Pair
    metric: str
    rows: tuple[list[Row], list[Row]]
    """Cells of who gains and over whom, cell by cell the same seed and condition."""

    @cached_property
    def test(self) -> statistics.Comparison:
        """Who gains against over whom, means over the cells."""
        found = self._resampled(statistics.RESAMPLES)
        return found if found.p_value > _CLEAR else self._resampled(_RESAMPLES)

    def _resampled(self, resamples: int) -> statistics.Comparison:
        new, base = self.rows
        return uncertainty.paired_bootstrap(
            self.metric, pairs(new), pairs(base), patients(new), resamples=resamples
        )

    @property
    def unit(self) -> str:
        """What was resampled."""
        known = by_patient.with_several_volumes(patients(self.rows[0]))
        return "volumes" if known is None else "patients"

    @property
    def doubt(self) -> str:
        """Which number of either side is suspect; empty where none is."""
        both = (row for own in self.rows for row in own)
        return next((f"{row.model}, {row.condition}" for row in both if row.suspicion), "")

    @property
    def partial(self) -> bool:
        """Whether a side lacks a condition in a training seed that both have."""
        seeds = {row.seed for row in self.rows[0]}
        return len(self.rows[0]) < len(seeds) * len(self.pair.conditions)

    @property
    def by_seed(self) -> tuple[float, ...]:
        """The gain of each training seed, in the order of `rows`."""
        gaps: dict[int | None, list[float]] = {}
        for new, base in zip(*self.rows, strict=True):
            ours, theirs = (row.record.metrics[self.metric] for row in (new, base))
            assert ours is not None  # `_shared` leaves out what is undefined
            assert theirs is not None
            gaps.setdefault(new.seed, []).append(ours - theirs)
        return tuple(sum(own) / len(own) for own in gaps.values())

    def row(self, adjusted: float, *, each: bool) -> tuple[object, ...]:
        """As the table shows it, with the gain of each seed or without."""
        gain, interval = self.test.difference, self.test.interval
        seeds = ", ".join(dict.fromkeys(str(row.seed) for row in self.rows[0]))
        marks = (_PARTIAL if self.partial else "") + (SUSPECT if self.doubt else "")
        floor = self.test.p_value <= _SMALLEST and adjusted < 1
        return (
            *self.pair.names,
            seeds,
            self.metric,
            Entry(text=f"{gain:+.3f}", order=gain, marks=marks),
            f"[{interval.low:+.3f}, {interval.high:+.3f}]",
            *((", ".join(f"{own + 0.0:+.3f}" for own in self.by_seed),) if each else ()),
            Entry(text=f"{'≤ ' if floor else ''}{quantity(adjusted)}", order=adjusted),
        )


def _shared(findings: Findings, pair: Pair, metric: str) -> tuple[list[Row], list[Row]] | None:
    """The cells that both have; None where there are none, or the metric is undefined."""
    new, base = (_rows(findings, subject, pair.conditions) for subject in (pair.new, pair.base))
    keys = [key for key in new if key in base]
    own, other = ([rows[key] for key in keys] for rows in (new, base))
    if not keys or any(metric in row.record.undefined for row in (*own, *other)):
        return None
    return own, other


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
