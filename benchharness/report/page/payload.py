"""The page's data: JSON that scripts read as `window.bench`.

Texts that many cells share are kept once, in `shared`, and named by their place there. So ten
thousand cells stay a few megabytes, and a panel is built only when it is opened.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from benchharness.outside.escaping import printable
from benchharness.report.cells.score import METRICS
from benchharness.report.page import panel, volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.page.matrix import Column, Line, Matrix
    from benchharness.store.matrix_checks import MatrixCheck

SCHEMA = 1


class Shared:
    """Values that are stored once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Where a value is; it is added if it is new."""
        key = json.dumps(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def payload(findings: Findings, matrix: Matrix) -> dict[str, Any]:
    """Everything that scripts need of the matrix and its panels.

    Keys: `metrics` (name → title), `columns`, `lines`, `shared`, and `cells`, whose `line` and
    `column` are places in these lists and whose other numbers are places in `shared`.
    """
    shared, compared = Shared(), panel.matrix_checks(findings)
    places = {
        shown.place: (number, column)
        for number, line in enumerate(matrix.lines)
        for column, shown in enumerate(line.cells)
        if shown is not None
    }
    return {
        "schema": SCHEMA,
        "metrics": dict(METRICS),
        "columns": [_column(column) for column in matrix.columns],
        "lines": [_line(line) for line in matrix.lines],
        "cells": [
            {"line": places[place][0], "column": places[place][1]}
            | _cell(findings, row, compared, shared)
            for place, row in enumerate(matrix.rows)
        ],
        "shared": shared.values,
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "condition": column.condition,
        "title": column.title,
        "severity": column.severity,
        "short": column.short,
        "family": column.family,
        "familyTitle": column.family_title,
        "perturbation": column.perturbation,
        "plausible": column.plausible,
        "strongest": column.strongest,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "model": line.model,
        "dataset": line.dataset,
        "recipe": line.recipe,
        "seed": line.seed,
    }


def _cell(
    findings: Findings,
    row: Row,
    compared: Mapping[panel.Place, Sequence[MatrixCheck]],
    shared: Shared,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "identity": row.record.identity,
        "n": row.record.cell.dataset.count,
        "of": row.record.cell.dataset.total,
        "scores": list(panel.scores(findings, row).values()),
        "methods": shared.place(panel.methods(findings, row)),
        "certificate": shared.place(panel.certificate(row, compared)),
        "parameters": shared.place(panel.parameters(row)),
        "facts": shared.place(panel.facts(row)),
        "provenance": shared.place(panel.provenance(row)),
        "cost": shared.place(panel.cost(findings, row)),
    }
    broken = volumes.broke(findings, row)
    optional = {
        "broke": None if broken is None else [len(broken.ids), broken.right],
        "severity": row.severity,
        "plausible": row.plausible,
        "suspect": row.suspicion,
        "error": row.record.error,
        "took": panel.took(row),
    }
    return found | {name: value for name, value in optional.items() if value not in (None, "")}


def script_json(data: Any) -> str:
    """JSON that may stand in a `<script>` element: no text in it can end the element."""
    text = json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain(value: Any) -> Any:
    """Values that JSON has, with control characters and lone surrogates shown as on the page."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
