"""A comparison as a comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from benchharness.comparison import words
from benchharness.outside import escaping

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.comparison.result import StoreComparison


def markdown(result: StoreComparison) -> str:
    """The comparison as a pull-request comment: endpoints in sight, cells folded away."""
    parts = [
        f"### Robustness: {words.outcome(result)}",
        escaping.github(words.headline(result)),
        _pipes(words.ENDPOINT_HEADER, map(words.endpoint_row, result.endpoints)),
    ]
    for title, gaps in words.by_kind(result):
        parts.append(f"**{title}**\n\n{_listed(words.gap_lines(gaps))}")
    parts += [escaping.github(note) for note in (*result.notes, words.legend(result))]
    cells = _pipes(words.CELL_HEADER, map(words.cell_row, result.cells))
    parts.append(_folded(f"{len(result.cells)} cells", cells))
    parts.append(_folded("Weights and versions", _listed(words.origin_lines(result))))
    return "\n\n".join(parts) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaping.github(line)}" for line in lines)


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[escaping.github(entry) for entry in row] for row in rows]
    return tabulate(lines, header, tablefmt="pipe", disable_numparse=True)
