"""Conditions: which cells one covers, what of it was not measured, what must not be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchharness import artefacts, registry
from benchharness.store import evidence
from benchharness.store.cells import format_budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.evidence.claims import Condition
    from benchharness.evidence.subject import Measured
    from benchharness.report.cells.rows import Row

UNKNOWN = "unknown"
"""The modality of data whose acquisition nobody stated."""
_BY_GRADIENT = ("white box", "both")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Covered:
    """The cells of a condition."""

    rows: tuple[Row, ...]
    """Measured on the same volumes as the clean cell, which is always among them."""
    missing: tuple[str, ...]
    """What the condition covers and the run has not, in words."""
    suspect: tuple[str, ...]
    """Covered cells that failed a check, each with the reason."""


def covered(measured: Measured, condition: Condition) -> Covered:
    """The cells that a condition covers.

    The clean cell is one of them: a perturbation of strength 0 is allowed by every bound. Of
    artefacts these are the plausible ones at every level up to the given one. Of attacks these are
    all whose volumes lie within ε, transferred ones and those of the probe included; at ε itself
    there must be one that follows the network's own gradient.
    """
    found: list[Row] = []
    missing: list[str] = []
    if condition.kind == "artefacts":
        found, missing = _artefacts(measured, condition)
    elif condition.kind == "attacks":
        found, missing = _attacks(measured, condition)
    usable = [measured.clean]
    for own in found:
        row = _spread(own, measured)
        if why := _unusable(row, measured):
            missing.append(f"{row.condition} ({why})")
        elif not row.record.inapplicable:
            usable.append(row)
    suspect = tuple(f"{row.condition}: {row.suspicion}" for row in usable if row.suspicion)
    return Covered(rows=tuple(usable), missing=tuple(dict.fromkeys(missing)), suspect=suspect)


def _spread(row: Row, measured: Measured) -> Row:
    """A control as a cell of all volumes: those that it was not tried on keep their clean answer.

    Controls such as the probe take some volumes by design, and what they break counts.
    """
    found, clean = row.predictions, measured.predictions
    if not row.record.control or found is None or not set(found.ids) <= set(clean.ids):
        return row
    places = {name: place for place, name in enumerate(clean.ids.tolist())}
    logits = clean.logits.copy()
    logits[[places[name] for name in found.ids.tolist()]] = found.logits
    return replace(row, predictions=replace(clean, logits=logits, validation=None))


def _unusable(row: Row, measured: Measured) -> str:
    """Why a cell that was run says nothing of these volumes; empty where it does."""
    if row.record.inapplicable:
        return ""
    if row.predictions is None:
        return row.failure
    if not np.array_equal(row.predictions.ids, measured.predictions.ids):
        return f"measured on {len(row.predictions.ids)} other volumes"
    return ""


def _artefacts(measured: Measured, condition: Condition) -> tuple[list[Row], list[str]]:
    names = condition.only or plausible(measured)
    if not names:
        return [], ["every artefact: which are plausible is unknown, since the data's modality is"]
    assert condition.severity is not None
    levels = range(1, int(condition.severity) + 1)
    ran = [row for row in measured.rows if row.key.kind == "artefact" and row.key.name in names]
    there = {(row.key.name, row.severity) for row in ran}
    lacking = [
        f"{name} level {level}" for name in names for level in levels if (name, level) not in there
    ]
    return [row for row in ran if row.severity in levels], lacking


def plausible(measured: Measured) -> tuple[str, ...]:
    """The artefacts that the data's acquisition can produce: built-in ones, and what was run."""
    modality = measured.cell.dataset.modality
    if modality == UNKNOWN:
        return ()
    known = [
        name
        for name in registry.members("artefacts", "all")
        if modality in artefacts.build(name).plausible
    ]
    ran = [row.key.name for row in measured.rows if row.plausible]
    return tuple(dict.fromkeys([*known, *ran]))


def _attacks(measured: Measured, condition: Condition) -> tuple[list[Row], list[str]]:
    budget, norm = condition.severity, condition.norm
    assert budget is not None
    found = [
        row
        for row in attacks(measured, norm)
        if row.severity is not None
        and (row.severity < budget or math.isclose(row.severity, budget, rel_tol=1e-6))
        and (not condition.only or row.key.name in condition.only)
    ]
    strongest = [
        row
        for row in found
        if math.isclose(row.severity or 0, budget, rel_tol=1e-6) and row.key.family == norm
    ]
    at = f"{format_budget(budget)} in {norm}"
    names = {row.key.name for row in strongest}
    lacking = [f"{name} {at}" for name in condition.only if name not in names]
    if not condition.only and not any(map(_by_gradient, strongest)):
        lacking.append(f"an attack along the gradient at {at}")
    return found, lacking


def _by_gradient(row: Row) -> bool:
    return row.record.facts.get("access") in _BY_GRADIENT


def attacks(measured: Measured, norm: str) -> list[Row]:
    """Cells of attacks with a budget whose volumes lie in a norm's ball of that budget.

    A change of at most ε everywhere also has a root mean square of at most ε.
    """
    norms = (norm,) if norm == "linf" else (norm, "linf")
    return [
        row
        for row in measured.all_rows
        if row.key.kind == "attack" and row.severity and evidence.norm_of(row.record) in norms
    ]


def steps(measured: Measured, condition: Condition) -> Iterator[float]:
    """The severities of a condition's kind that were run, rising."""
    rows: Sequence[Row]
    if condition.kind == "artefacts":
        names = condition.only or plausible(measured)
        rows = [
            row for row in measured.rows if row.key.kind == "artefact" and row.key.name in names
        ]
    else:
        rows = [row for row in attacks(measured, condition.norm) if _by_gradient(row)]
    yield from sorted({row.severity for row in rows if row.severity})
