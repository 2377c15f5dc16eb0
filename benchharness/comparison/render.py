"""A comparison as a table for a terminal, Markdown for a pull request, JSON, or JUnit for a CI."""

from __future__ import annotations

import json
import string
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from benchharness import statistics
    from benchharness.comparison import ComparedCell, Endpoint, Gap, StoreComparison

JSON_SCHEMA = 1
"""Version of the layout of `as_json`."""

DASH = "–"
_COLOURS = {"worse": "red", "better": "green", "not comparable": "yellow"}
_ENDPOINTS = ("Endpoint", "Cells", "n", "Base", "New", "Difference", "p", "Detectable", "Verdict")
_CELLS = (
    "Cell",
    "n",
    "Base",
    "New",
    "Lost / won",
    "Difference",
    "p",
    "AUC base",
    "AUC new",
    "AUC difference",
    "p of AUC",
)
_KINDS = {
    "refused": "Refused: the two are not the same measurement",
    "missing": "Missing",
    "suspect": "Suspect, left out",
    "unreferenced": "Not in BASE, left out",
}


def headline(result: StoreComparison) -> str:
    """The verdict in one sentence."""
    judged = [e for e in result.endpoints if e.judgement is not None]
    counts = [
        f"{count} {word}"
        for word in ("worse", "better", "indistinguishable", "not comparable")
        if (count := sum(endpoint.verdict == word for endpoint in result.endpoints))
    ]
    settings = result.settings
    sentence = (
        f"{result.new} against {result.base}: {result.verdict} "
        f"({', '.join(counts)}; tolerance {settings.tolerance:g}, α = {settings.alpha:g}, Holm "
        f"over {len(judged)} endpoint{'' if len(judged) == 1 else 's'})."
    )
    gaps = result.of_kind("missing", "suspect")
    if settings.strict and gaps and result.verdict not in ("worse", "not comparable"):
        sentence += f" Failed all the same: --strict allows no gap, and there are {len(gaps)}."
    return sentence


def explain(endpoint: Endpoint, tolerance: float) -> str:
    """An endpoint's verdict in one sentence."""
    judgement = endpoint.judgement
    if judgement is None:
        return f"not comparable: {endpoint.reason}."
    interval = judgement.interval
    moved = (
        f"mean accuracy {endpoint.base:.3f} → {endpoint.new:.3f}, {100 * interval.level:.3g} % "
        f"interval of the difference [{interval.low:+.3f}, {interval.high:+.3f}]"
    )
    if judgement.outcome == "indistinguishable":
        return (
            f"{moved}, not wholly beyond the tolerance of {tolerance:g}; a difference of "
            f"{judgement.detectable:.3f} would have been found with 80 % power."
        )
    return f"{moved}, wholly beyond the tolerance of {tolerance:g}."


def table(result: StoreComparison) -> RenderableType:
    """The comparison for `rich.console.Console.print`."""
    parts: list[RenderableType] = [
        _Fitting(
            _grid("Endpoints: mean accuracy", _ENDPOINTS, map(_endpoint_row, result.endpoints)),
            "Endpoints: mean accuracy",
            tuple(_in_words(endpoint, result.settings.tolerance) for endpoint in result.endpoints),
        ),
        _Fitting(
            _grid("Cells (they explain, endpoints decide)", _CELLS, map(_cell_row, result.cells)),
            "Cells (they explain, endpoints decide): accuracy, and p by Holm",
            tuple(map(_cell_in_words, result.cells)),
        ),
    ]
    for title, gaps in _by_kind(result):
        parts.append(Text(f"{title}:"))
        parts += [Text(f"  {line}") for line in _gap_lines(gaps)]
    parts += [Text(note, style="dim") for note in (*result.notes, _LEGEND)]
    parts.append(Text(headline(result), style=_COLOURS.get(result.verdict, "")))
    return Group(*parts)


_LEGEND = (
    "Differences are NEW minus BASE on the same volumes. Endpoints: bootstrap over volumes, each "
    "interval at its Holm level. Cells: exact McNemar and DeLong (more classes or seeds: a "
    "bootstrap), p by Holm over the cells. Detectable: found beyond the tolerance with 80 % power."
)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table where the terminal is wide enough for it, else a line for each of its rows."""

    table: Table
    title: str
    lines: tuple[Text, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # rich never measures more than there is room for, so the room is made endless.
        needed = Measurement.get(console, options.update(max_width=10_000), self.table).maximum
        if needed <= options.max_width:
            yield self.table
            return
        yield Text(self.title, style="italic")
        yield from self.lines
        yield Text()


def _in_words(endpoint: Endpoint, tolerance: float) -> Text:
    said = explain(endpoint, tolerance)
    if endpoint.judgement is not None:
        said = f"{endpoint.verdict}. {said[0].upper()}{said[1:]}"
    return Text(f"  {endpoint.name}: {said}", style=_COLOURS.get(endpoint.verdict, ""))


def _cell_in_words(cell: ComparedCell) -> Text:
    name, _, base, new, _, difference, p_value, *_ = _cell_row(cell)
    return Text(f"  {name}: {base} → {new}, {difference}, p {p_value}")


def _grid(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(header):
        grid.add_column(heading, justify="right" if index else "left", overflow="fold")
    for row in rows:
        style = _COLOURS.get(row[-1], "")
        grid.add_row(*(Text(entry, style=style) for entry in row))
    return grid


def _endpoint_row(endpoint: Endpoint) -> tuple[str, ...]:
    judgement = endpoint.judgement
    told = judgement is not None and judgement.outcome != "indistinguishable"
    return (
        endpoint.name,
        str(endpoint.cells) if endpoint.cells == endpoint.of else f"{endpoint.cells}/{endpoint.of}",
        str(endpoint.n) if endpoint.n == endpoint.total else f"{endpoint.n}/{endpoint.total}",
        _share(endpoint.base),
        _share(endpoint.new),
        DASH
        if judgement is None
        else f"{_difference(judgement.difference, judgement.interval)} "
        f"at {100 * judgement.interval.level:.3g} %",
        DASH if judgement is None else _p(judgement.p_adjusted),
        DASH if judgement is None or told else f"±{judgement.detectable:.3f}",
        endpoint.verdict,
    )


def _cell_row(cell: ComparedCell) -> tuple[str, ...]:
    auc = cell.auc
    place = cell.place
    return (
        f"{place.model} · {place.dataset} · {place.condition}",
        str(cell.n),
        _share(cell.base),
        _share(cell.new),
        f"{cell.lost:g} / {cell.won:g}",
        _difference(cell.accuracy.difference, cell.accuracy.interval),
        _p(cell.p_adjusted),
        _share(cell.base_auc),
        _share(cell.new_auc),
        DASH if auc is None else _difference(auc.difference, auc.interval),
        DASH if cell.auc_p_adjusted is None else _p(cell.auc_p_adjusted),
    )


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _difference(value: float, interval: statistics.Interval) -> str:
    # Rounding must not show a bound on the other side of 0 or a difference of -0.000.
    return f"{value + 0.0:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _by_kind(result: StoreComparison) -> list[tuple[str, tuple[Gap, ...]]]:
    found = ((title, result.of_kind(kind)) for kind, title in _KINDS.items())
    return [(title, gaps) for title, gaps in found if gaps]


def _gap_lines(gaps: Iterable[Gap]) -> list[str]:
    """A line for all gaps of one model on one dataset that have one reason."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for gap in gaps:
        key = (gap.place.model, gap.place.dataset, gap.reason)
        together.setdefault(key, []).append(gap.place.condition)
    return [
        f"{model} · {dataset} · {', '.join(conditions)}: {reason}"
        for (model, dataset, reason), conditions in together.items()
    ]


def markdown(result: StoreComparison) -> str:
    """The comparison as a pull-request comment: endpoints in sight, cells folded away."""
    parts = [
        f"### Robustness: {result.verdict}",
        _escaped(headline(result)),
        _pipes(_ENDPOINTS, map(_endpoint_row, result.endpoints)),
    ]
    for title, gaps in _by_kind(result):
        lines = "\n".join(f"- {_escaped(line)}" for line in _gap_lines(gaps))
        parts.append(f"**{title}**\n\n{lines}")
    parts += [_escaped(note) for note in (*result.notes, _LEGEND)]
    cells = _pipes(_CELLS, map(_cell_row, result.cells))
    parts.append(f"<details><summary>{len(result.cells)} cells</summary>\n\n{cells}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[_escaped(entry) for entry in row] for row in rows]
    return tabulate(lines, header, tablefmt="pipe", disable_numparse=True)


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "|*_<>`\\" else sign for sign in text)


def as_json(result: StoreComparison) -> str:
    """Everything as JSON of a versioned layout, for programs."""
    payload: dict[str, Any] = {
        "schema": JSON_SCHEMA,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "base": result.base,
        "new": result.new,
        "settings": asdict(result.settings),
        "endpoints": [
            asdict(endpoint) | {"verdict": endpoint.verdict} for endpoint in result.endpoints
        ],
        "cells": [asdict(cell) for cell in result.cells],
        "gaps": [asdict(gap) for gap in result.gaps],
        "notes": list(result.notes),
    }
    return json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def junit(result: StoreComparison) -> str:
    """JUnit XML: an endpoint is a test; worse fails it, not comparable is an error.

    Under `strict` every missing or suspect cell is a failed test of its own.
    """
    suite = ET.Element("testsuite", name=f"{result.new} against {result.base}")
    failures = errors = skipped = 0
    for endpoint in result.endpoints:
        case = _case(suite, f"{endpoint.model}.{endpoint.dataset}", endpoint.family)
        text = explain(endpoint, result.settings.tolerance)
        if endpoint.verdict == "worse":
            failures += _part(case, "failure", text)
        elif endpoint.verdict == "not comparable" and result.exit_code == 2:
            errors += _part(case, "error", text)
        elif endpoint.verdict == "not comparable":
            skipped += _part(case, "skipped", text)
        else:
            ET.SubElement(case, "system-out").text = _printable(text)
    for gap in result.of_kind("missing", "suspect") if result.settings.strict else ():
        case = _case(suite, f"{gap.place.model}.{gap.place.dataset}", gap.place.condition)
        failures += _part(case, "failure", f"{gap.kind}: {gap.reason}")
    suite.attrib |= {
        "tests": str(len(suite)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(skipped),
    }
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, classname: str, name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=_printable(classname), name=_printable(name), time="0"
    )


def _part(case: ET.Element, tag: str, text: str) -> int:
    ET.SubElement(case, tag, message=_printable(text)).text = _printable(text)
    return 1


def _printable(text: str) -> str:
    """The text without what XML 1.0 cannot hold."""
    return "".join(
        sign
        for sign in text
        if sign in string.whitespace[:4]
        or "\x20" <= sign <= "\ud7ff"
        or "\ue000" <= sign <= "\ufffd"
        or sign >= "\U00010000"
    )
