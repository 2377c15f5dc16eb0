"""How the models of a dataset were trained, as far as it concerns how they must be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.cells import OWN_WEIGHTS, format_budget

if TYPE_CHECKING:
    from benchharness.canonical import Pairs
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject

_LINF = "linf"


def settings(findings: Findings, subject: Subject) -> dict[str, object]:
    """The recipe's settings; empty for weights that the user brought."""
    rows = findings.of(subject.dataset)
    found = (row.record.cell.checkpoint.recipe for row in rows if row.model == subject.model)
    recipe: Pairs | None = next(found, None)
    return dict(recipe or ())


def network(findings: Findings, subject: Subject) -> str:
    """The model's name without its recipe."""
    rows = findings.of(subject.dataset)
    return next(row.record.cell.model.name for row in rows if row.model == subject.model)


def trained_with(recipe: dict[str, object]) -> str:
    """A training in words: `adv_pgd 4/255`, `quick`, `own weights`."""
    if not recipe:
        return OWN_WEIGHTS
    eps = _number(recipe.get("eps"))
    return f"{recipe['name']} {format_budget(eps)}" if eps else str(recipe["name"])


def recipes(findings: Findings, dataset: str) -> frozenset[str]:
    """Names of the recipes behind a dataset's models."""
    found = (row.record.cell.checkpoint.recipe_name for row in findings.of(dataset))
    return frozenset(name for name in found if name is not None)


def adversarial(recipe: dict[str, object]) -> bool:
    """Whether it trains against an adversary."""
    return _number(recipe.get("eps")) > 0


def artefacts(recipe: dict[str, object]) -> frozenset[str]:
    """The artefacts that it trains on."""
    found = recipe.get("artefacts", ())
    assert isinstance(found, (tuple, list))
    return frozenset(map(str, found))


def robust(recipe: dict[str, object]) -> bool:
    """Whether it trains against an adversary, on artefacts or on noise."""
    return adversarial(recipe) or bool(artefacts(recipe)) or _number(recipe.get("noise")) > 0


def plain(recipe: dict[str, object]) -> bool:
    """Whether it is a recipe that does none of this."""
    return bool(recipe) and not robust(recipe)


def strongest(findings: Findings, subject: Subject, recipe: dict[str, object]) -> Row | None:
    """The strongest white-box L∞ attack at the training's ε or above; None where none was run."""
    eps = _number(recipe.get("eps"))
    rows = [
        row
        for row in findings.of(subject.dataset)
        if row.model == subject.model
        and row.key.family == _LINF
        and row.predictions is not None
        and (row.severity or 0.0) >= eps - 1e-9
    ]
    return max(rows, key=_strength, default=None)


def no_stronger(row: Row | None, recipe: dict[str, object]) -> bool:
    """Whether an attack is no stronger than the one that a network was trained or chosen by.

    A cascade is stronger, and so is an attack of more steps, restarts counted.
    """
    steps = max(_number(recipe.get("steps")), _number(recipe.get("selection_steps")))
    return row is None or (not _strength(row)[0] and _strength(row)[1] <= steps)


def _strength(row: Row) -> tuple[bool, float]:
    parameters = dict(row.key.parameters)
    steps = _number(parameters.get("steps", 1)) * _number(parameters.get("restarts", 1))
    return bool(row.record.facts.get("parts")), steps


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
