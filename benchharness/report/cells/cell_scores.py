"""Scores of cells: one cell, the mean over several, the mean over training seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.rows import pairs, patients
from benchharness.report.cells.score import Score
from benchharness.statistics import uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchharness.report.cells.rows import Row
    from benchharness.report.cells.score import Metric


class CellScores:
    """Scores that were asked for so far, each computed once.

    A bootstrap takes its time, and the same number appears in several tables and plots.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Score] = {}

    def single(self, row: Row, metric: Metric) -> Score:
        """A cell's metric with its interval."""
        return self._once((metric, row.record.identity), lambda: self._single(row, metric))

    def mean(self, rows: Sequence[Row], metric: Metric) -> Score:
        """The mean of a metric over cells of the same volumes, with its interval."""
        identities = (row.record.identity for row in rows)
        return self._once(("mean", metric, *identities), lambda: self._mean(rows, metric))

    def over_seeds(self, runs: Sequence[Sequence[Row]], metric: Metric) -> Score:
        """The mean over training seeds of means over cells.

        Its interval, over seeds and volumes, needs three seeds.
        """
        identities = (row.record.identity for rows in runs for row in rows)
        return self._once(("seeds", metric, *identities), lambda: _over_seeds(runs, metric))

    def _single(self, row: Row, metric: Metric) -> Score:
        if row.record.inapplicable:
            return Score(gap=row.record.inapplicable)
        if row.predictions is None:
            return Score(gap=row.failure)
        suspect = f"{row.condition}: {row.suspicion}" if row.suspicion else ""
        labels, logits = row.predictions.labels, row.predictions.logits
        values, undefined = row.predictions.metrics
        # A record may say that a metric would mislead although its predictions give one.
        if gap := row.record.undefined.get(metric) or undefined.get(metric):
            return Score(gap=gap, suspect=suspect)
        value = values[metric]
        assert value is not None, metric
        interval = uncertainty.interval(metric, labels, logits, row.predictions.patients)
        return Score.of(value, interval, suspect=suspect)

    def _mean(self, rows: Sequence[Row], metric: Metric) -> Score:
        cells = [(row.condition, self.single(row, metric)) for row in rows]
        undefined = next((f"{where}: {score.gap}" for where, score in cells if score.gap), "")
        if undefined:
            return Score(gap=undefined)
        value, interval = uncertainty.mean_over_cells(metric, pairs(rows), patients(rows))
        suspect = "; ".join(score.suspect for _, score in cells if score.suspect)
        return Score.of(value, interval, suspect=suspect)

    def _once(self, key: tuple[str, ...], compute: Callable[[], Score]) -> Score:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


def _over_seeds(runs: Sequence[Sequence[Row]], metric: Metric) -> Score:
    found = uncertainty.mean_over_seeds(metric, [pairs(rows) for rows in runs], patients(runs[0]))
    return Score.of(found.mean, found.interval)
