"""A comparison as tables for a terminal, as sentences where it is too narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchharness.comparison import words
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from benchharness.comparison.cells import ComparedCell
    from benchharness.comparison.endpoints import Endpoint
    from benchharness.comparison.result import StoreComparison

_COLOURS = {"worse": "red", "better": "green", "not comparable": "yellow"}


def table(result: StoreComparison) -> RenderableType:
    """The comparison for `rich.console.Console.print`."""
    title = words.title(result)
    endpoints = _grid(title, words.ENDPOINT_HEADER, map(words.endpoint_row, result.endpoints))
    cells = _grid(
        "Cells (they explain, endpoints decide)",
        words.CELL_HEADER,
        map(words.cell_row, result.cells),
    )
    parts: list[RenderableType] = [
        _Fitting(
            endpoints,
            title,
            tuple(_in_words(endpoint, result.settings.tolerance) for endpoint in result.endpoints),
        ),
        _Fitting(
            cells,
            "Cells (they explain, endpoints decide): accuracy, and p by Holm",
            tuple(map(_cell_in_words, result.cells)),
        ),
    ]
    for kind, gaps in words.by_kind(result):
        parts.append(Text(f"{kind}:"))
        parts += [Text(f"  {one_line(line)}") for line in words.gap_lines(gaps)]
    parts += [Text(one_line(note), style="dim") for note in (*result.notes, words.legend(result))]
    colour = "red" if result.exit_code == 1 else _COLOURS.get(result.verdict, "")
    parts.append(Text(one_line(words.headline(result)), style=colour))
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table where the terminal is wide enough for it, otherwise a line for each of its rows."""

    table: Table
    title: str
    lines: tuple[Text, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # rich measures no more than the width it is given, so it is given plenty.
        needed = Measurement.get(console, options.update(max_width=10_000), self.table).maximum
        if needed <= options.max_width:
            yield self.table
            return
        yield Text(self.title, style="italic")
        yield from self.lines
        yield Text()


def _in_words(endpoint: Endpoint, tolerance: float) -> Text:
    said = words.explain(endpoint, tolerance)
    if endpoint.judgement is not None:
        said = f"{endpoint.verdict}. {said[0].upper()}{said[1:]}"
    return Text(
        f"  {one_line(f'{endpoint.name}: {said}')}", style=_COLOURS.get(endpoint.verdict, "")
    )


def _cell_in_words(cell: ComparedCell) -> Text:
    name, _, base, new, _, difference, p_value, *_ = words.cell_row(cell)
    return Text(f"  {one_line(name)}: {base} → {new}, {difference}, p {p_value}")


def _grid(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(header):
        grid.add_column(heading, justify="right" if index else "left", overflow="fold")
    for row in rows:
        style = _COLOURS.get(row[-1], "")
        grid.add_row(*(Text(one_line(entry), style=style) for entry in row))
    return grid
