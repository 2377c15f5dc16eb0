"""The overview of a store for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from benchharness.outside.escaping import one_line
from benchharness.report.collect import collect
from benchharness.report.tables.summaries import overview as overview_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from benchharness.report.cells.findings import Findings
    from benchharness.report.tables.layout import Entry, Table


def overview(store_dir: Path) -> RenderableType:
    """Lay out one compact table for each dataset, for `rich.console.Console.print`.

    Raises:
        BenchError: When there is nothing to report.
    """
    return laid_out(collect(store_dir))


def laid_out(findings: Findings) -> RenderableType:
    """Lay out findings as `overview` does."""
    parts: list[RenderableType] = []
    for dataset in findings.datasets:
        parts += drawn(overview_table(findings, dataset, each_seed=False))
    for row in findings.failed:
        where = f"{row.model}, {row.dataset}, {row.condition}"
        parts.append(Text(one_line(f"failed: {where}: {row.record.error}"), style="red"))
    return Group(*parts)


def drawn(table: Table) -> list[RenderableType]:
    """A table, its notes and an empty line."""
    notes = (Text(one_line(f"{note.sign} {note.text}"), style="dim") for note in table.notes)
    return [_Grid(table), *notes, Text()]


@dataclass(frozen=True, slots=True)
class _Grid:
    """A table in a terminal: one row for each model or, where that is too wide, one column."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Intervals below their numbers halve the width of the table.
        rows = [[_stacked(entry) for entry in row] for row in self.table.rows]
        lines = [list(map(one_line, self.table.header)), *rows]
        upright = self._draw(lines)
        # rich measures no more than the width it is given, so it is given plenty.
        needed = Measurement.get(console, options.update(max_width=10_000), upright).maximum
        fits = needed <= options.max_width
        yield upright if fits else self._draw(list(zip(*lines, strict=True)))

    def _draw(self, lines: Sequence[Sequence[str]]) -> RichTable:
        grid = RichTable(
            title=Text(one_line(self.table.title)),
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        for index, heading in enumerate(lines[0]):
            grid.add_column(Text(heading), justify="right" if index else "left", overflow="fold")
        for line in lines[1:]:
            grid.add_row(*map(Text, line))
        return grid


def _stacked(entry: Entry) -> str:
    """An interval goes below its number; names stay on their line."""
    text = one_line(entry.plain)
    return text if entry.order is None else text.replace(" [", "\n[")
