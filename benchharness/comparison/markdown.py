"""A comparison as a comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from benchharness.comparison import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.comparison.result import StoreComparison


def markdown(result: StoreComparison) -> str:
    """The comparison as a pull-request comment: endpoints in sight, cells folded away."""
    parts = [
        f"### Robustness: {result.verdict}",
        _escaped(words.headline(result)),
        _pipes(words.ENDPOINT_HEADER, map(words.endpoint_row, result.endpoints)),
    ]
    for title, gaps in words.by_kind(result):
        lines = "\n".join(f"- {_escaped(line)}" for line in words.gap_lines(gaps))
        parts.append(f"**{title}**\n\n{lines}")
    parts += [_escaped(note) for note in (*result.notes, words.LEGEND)]
    cells = _pipes(words.CELL_HEADER, map(words.cell_row, result.cells))
    parts.append(f"<details><summary>{len(result.cells)} cells</summary>\n\n{cells}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[_escaped(entry) for entry in row] for row in rows]
    return tabulate(lines, header, tablefmt="pipe", disable_numparse=True)


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "|*_<>`\\" else sign for sign in text)
