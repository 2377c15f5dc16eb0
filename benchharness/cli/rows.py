"""Tables of texts: as a table where the terminal is wide enough, else a paragraph a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchharness.cli.console import out

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_rows(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of texts under their columns, whatever the width."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    # rich cuts a table to the console's width; measured on a wide one, it keeps its own.
    plenty = out.options.update(max_width=10_000)
    if Measurement.get(out, plenty, table).maximum <= out.width:
        out.print(table)
    else:
        _print_blocks(columns, rows)


def _print_blocks(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print each row as a paragraph, for terminals narrower than the table."""
    width = max(map(len, columns[1:])) + 2
    for row in rows:
        out.print(row[0], style="bold", highlight=False, markup=False)
        grid = Table.grid(padding=(0, 0))
        grid.add_column(width=width + 2, no_wrap=True)
        grid.add_column()
        for column, field in zip(columns[1:], row[1:], strict=True):
            grid.add_row(Text(f"  {column}"), Text(field))
        out.print(grid)
