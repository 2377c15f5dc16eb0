"""What is known of one cell, as its panel says it: plain JSON values in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchharness.report.cells.score import METRICS
from benchharness.report.tables.numbers import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.cells.score import Score
    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.records import Check

    Place = tuple[str, str, int | None]
    """Model, dataset and training seed."""

_DIGITS = 6
"""Decimals that the page's data keeps of a score."""
_LISTED = 8
"""Items of a list that are written out."""

Pair = tuple[str, str]
"""A name and its value, both in words."""


def scores(findings: Findings, row: Row) -> dict[str, list[float | None]]:
    """Value and both ends of every metric's interval."""
    found = {metric: findings.cell_scores.single(row, metric) for metric in METRICS}
    return {name: _rounded(score) for name, score in found.items()}


def _rounded(score: Score) -> list[float | None]:
    ends = (score.value, score.low, score.high)
    return [None if end is None else round(end, _DIGITS) for end in ends]


def methods(findings: Findings, row: Row) -> list[str]:
    """How each metric's interval was found, or why it has no value."""
    found = (findings.cell_scores.single(row, metric) for metric in METRICS)
    return [score.gap or score.method for score in found]


def matrix_checks(findings: Findings) -> dict[Place, list[MatrixCheck]]:
    """The checks that compare cells, by the network, the dataset and the seed they concern."""
    rows = {row.record.identity: row for row in (*findings.rows, *findings.controls)}
    found: dict[Place, list[MatrixCheck]] = {}
    for check in findings.checks:
        found.setdefault(_place(rows[check.of]), []).append(check)
    return found


def _place(row: Row) -> Place:
    return row.model, row.dataset, row.seed


def certificate(row: Row, compared: Mapping[Place, Sequence[MatrixCheck]]) -> list[list[str]]:
    """Each check as [name, verdict, what was measured or why]: the record's, then the matrix'.

    Args:
        row: The cell.
        compared: From `matrix_checks`.
    """
    found = [_check(check) for check in row.record.certificate]
    if row.key.kind != "attack":
        return found
    for one in compared.get(_place(row), ()):
        elsewhere = one.check.verdict == "failed" and row.record.identity not in one.cells
        found.append(_check(one.check, " (of other cells of this network)" if elsewhere else ""))
    return found


def _check(check: Check, more: str = "") -> list[str]:
    said = check.reason + more
    if not said and check.value is not None:
        bound = "" if check.bound is None else f", bound {check.bound:.4g}"
        said = f"measured {check.value:.4g}{bound}"
    return [check.name, check.verdict, said]


def parameters(row: Row) -> list[Pair]:
    """What was done, with every parameter."""
    key = row.key
    found: list[Pair] = [("version", str(key.version))]
    if key.seed is not None:
        found.append(("seed", str(key.seed)))
    if key.source is not None:
        found.append(("made on", f"{key.source.model.name}, {key.source.checkpoint.sha256}"))
    return [*found, *_pairs(dict(key.parameters))]


def facts(row: Row) -> list[Pair]:
    """What the perturbation said of itself."""
    return list(_pairs({k: v for k, v in row.record.facts.items() if k != "thresholds"}))


def cost(findings: Findings, row: Row) -> list[Pair]:
    """What a forward pass costs; empty where it was not measured."""
    found = findings.cost(row.model, row.dataset)
    if found is None:
        return []
    memory = found.peak_memory_mib
    return [
        ("parameters", f"{quantity(found.parameters / 1e6)} M"),
        ("operations of a forward pass", f"{quantity(found.flops / 1e9)} GFLOPs"),
        ("latency", f"{quantity(found.latency_ms)} ms a volume, batch {found.latency_batch}"),
        *([] if memory is None else [("peak memory", f"{memory:,.0f} MiB")]),
    ]


def provenance(row: Row) -> list[Pair]:
    """Where and with what it was measured, without what differs from cell to cell."""
    cell = row.record.cell
    own = {
        "data": cell.dataset.digest,
        "weights": cell.checkpoint.sha256 or "untrained",
        "network": cell.model.factory,
    }
    same = {k: v for k, v in row.record.provenance.items() if k not in ("started", "seconds")}
    return list(_pairs(own | same))


def took(row: Row) -> str:
    """When it began and how long it took; empty where the record does not say."""
    made = row.record.provenance
    parts = [str(made["started"])] if made.get("started") else []
    if isinstance(seconds := made.get("seconds"), int | float):
        parts.append(f"{quantity(float(seconds))} s")
    return ", ".join(parts)


def _pairs(values: Mapping[str, Any], before: str = "") -> Iterator[Pair]:
    """Names and values in words; a mapping within a mapping is `outer · inner`."""
    for name, value in values.items():
        title = f"{before}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{title} · ")
        elif value is not None and value != "":
            yield title, _written(value)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return _listed(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in _pairs(value))
    return str(value)


def _listed(values: Iterable[object]) -> str:
    texts = [_written(value) for value in values]
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
