"""A store of any size in seconds: counts and plain means, from its index alone.

What needs predictions is missing: intervals, worst cases, and the checks that compare cells. The
report has them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from benchharness.report.cells.score import Score
from benchharness.report.formats.terminal import drawn
from benchharness.report.tables.layout import Line, score_table
from benchharness.store.cells import family_order, family_title
from benchharness.store.opening import entries_of, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from benchharness.report.tables.layout import Table
    from benchharness.store.entries import Entry

NOTE = (
    "Means over all cells of a family that did not fail, without intervals, controls and checks "
    "that compare cells; bench report has all three."
)


def overview(path: Path) -> RenderableType:
    """Lay out, for each dataset, the cells of every model and their mean accuracies.

    Args:
        path: A store's folder, or a baseline's file.

    Raises:
        BenchError: When there is neither, or a line is no record.
    """
    datasets: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for entry in entries_of(open_source(path)):
        if not entry.control:
            datasets[entry.dataset_name, entry.dataset, entry.volumes].append(entry)
    names = [name for name, _ in {place[:2] for place in datasets}]
    parts: list[RenderableType] = []
    for (name, digest, volumes), found in datasets.items():
        which = f" ({digest.partition(':')[2][:8]})" if names.count(name) > 1 else ""
        parts += [*drawn(_table(f"{name}{which}, {volumes} volumes", found))]
    return Group(*parts, Text(NOTE, style="dim"))


def _table(title: str, entries: Sequence[Entry]) -> Table:
    families = sorted({family_order(entry.kind, entry.family) for entry in entries})
    kinds = {entry.family: entry.kind for entry in entries}
    columns = [family for _, family in families]
    several = len({entry.recipe for entry in entries}) > 1
    models: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        recipe = f" · {entry.recipe}" if several and entry.recipe else ""
        models[entry.model + recipe].append(entry)
    return score_table(
        title,
        (
            *("Model", "Weights", "Cells", "Failed", "Suspect"),
            *(family_title(kinds[family], family) for family in columns),
        ),
        [_line(model, found, columns) for model, found in sorted(models.items())],
    )


def _line(model: str, entries: Sequence[Entry], families: Iterable[str]) -> Line:
    of_family: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        of_family[entry.family].append(entry)
    failed = sum(entry.status != "ok" for entry in entries)
    counts = (len({entry.checkpoint for entry in entries}), len(entries), failed)
    suspect = sum(entry.suspect for entry in entries)
    return Line(
        names=(model, *counts, suspect), fields=tuple(_mean(of_family[name]) for name in families)
    )


def _mean(entries: Sequence[Entry]) -> Score:
    found = [entry.accuracy for entry in entries if entry.accuracy is not None]
    if not found:
        return Score(gap="all cells failed" if entries else "not run")
    failed = len(entries) - len(found)
    return Score(value=sum(found) / len(found), remark=f"{failed} cells failed" if failed else "")
