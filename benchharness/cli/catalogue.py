"""Rows for `bench list`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness import artefacts, attacks, registry
from benchharness.errors import BenchError, CellError
from benchharness.networks import building, zoo
from benchharness.outside.containment import contained, in_one_line
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchharness.attacks import Attack
    from benchharness.registry import Entry, Registry


_MANY_CLASSES = 11
"""Classes of organmnist3d: attacks whose cost depends on the classes show it for these, too."""

_SIZES = ("_64", "_128", "_224")
"""Suffixes of datasets that share the row of their smallest copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A table of one registry."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    """Names that stand for several, with their members."""


def catalogue(name: Registry) -> Catalogue:
    """List a registry: every built-in and every plug-in, with sizes, parameters and sources."""
    columns, row = _TABLES[name]
    entries = registry.entries(name).values()
    return Catalogue(
        columns=columns,
        rows=tuple(
            _contained(row, entry, len(columns))
            for entry in entries
            if name != "datasets" or not _is_larger_copy(entry.name)
        ),
        groups=tuple((group, registry.members(name, group)) for group in registry.GROUPS[name]),
    )


def _contained(
    row: Callable[[Entry], tuple[str, ...]], entry: Entry, columns: int
) -> tuple[str, ...]:
    """A row; for a plug-in that cannot be loaded, one that says why."""
    try:
        with contained():
            return row(entry)
    except Exception as error:
        # A plug-in may raise anything, and the others are worth listing all the same.
        reason = str(error) if isinstance(error, BenchError) else in_one_line(error)
        return (entry.name, *["–"] * (columns - 3), f"cannot be loaded: {reason}", entry.source)


def _model(entry: Entry) -> tuple[str, ...]:
    factory = registry.import_target(entry.target)
    try:
        network = building.sketch(
            ModelKey(name=entry.name, factory=entry.target), num_classes=2, in_channels=1
        )
    except CellError as error:
        what = f"{_first_line(factory)} ({error})".strip()
        return entry.name, "unknown", _of_zoo(entry.name), what, entry.source
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return entry.name, f"{millions:.2f} M", _of_zoo(entry.name), _first_line(factory), entry.source


def _of_zoo(model: str) -> str:
    """The recipes and datasets of which the zoo has checkpoints: `@quick: phantom3d`."""
    found: dict[str, dict[str, None]] = {}
    for one in zoo.entries():
        if one.card.model == model:
            found.setdefault(one.recipe, {})[one.card.dataset] = None
    return "; ".join(f"@{recipe}: {', '.join(on)}" for recipe, on in found.items()) or "–"


def _dataset(entry: Entry) -> tuple[str, ...]:
    factory = registry.import_target(entry.target)
    larger = [size for size in _SIZES if entry.name + size in registry.entries("datasets")]
    return entry.name, ", ".join(larger) or "–", _first_line(factory), entry.source


def _is_larger_copy(name: str) -> bool:
    """Whether a dataset shares another's row, as `organmnist3d_64` shares `organmnist3d`'s."""
    known = registry.entries("datasets")
    return any(name.removesuffix(size) in known for size in _SIZES if name.endswith(size))


def _attack(entry: Entry) -> tuple[str, ...]:
    attack = attacks.build(entry.name, {})
    settings = ", ".join(f"{key}={value}" for key, value in attack.parameters().items())
    return (
        entry.name,
        attack.norm,
        f"{_least_classes(attack)} or more",
        attack.summary,
        settings or "–",
        _passes(attack),
        _checks(attack),
        attack.source,
    )


def _least_classes(attack: Attack) -> int:
    """How many classes a task must have for an attack to apply to it."""
    for classes in range(2, _MANY_CLASSES):
        try:
            attack.check(classes)
        except BenchError:
            continue
        return classes
    return _MANY_CLASSES


def _passes(attack: Attack) -> str:
    """Passes with the fewest classes that the attack takes and, where they differ, with many."""
    least = _least_classes(attack)
    few, many = attack.cost(least), attack.cost(_MANY_CLASSES)
    if few == many:
        return str(few)
    return f"{few} with {least} classes; {many} with {_MANY_CLASSES}"


def _checks(attack: Attack) -> str:
    """Passes that the certificate takes."""
    every, watched = attacks.CHECKING, attacks.WATCHING * attacks.WATCHED
    of_cell = f"; {watched} for {attacks.WATCHED} volumes of a cell"
    return f"{every.forward} forward a volume{of_cell if attack.watches else ''}"


def _artefact(entry: Entry) -> tuple[str, ...]:
    artefact = artefacts.build(entry.name)
    rows = [dict(artefact.parameters(level)) for level in artefacts.LEVELS]
    levels = "; ".join(f"{key} {_series([row[key] for row in rows])}" for key in rows[0])
    return (
        entry.name,
        artefact.group,
        artefact.summary,
        levels,
        artefact.unit,
        ", ".join(sorted(artefact.plausible)) or "–",
        artefact.source,
    )


def _series(values: Sequence[object]) -> str:
    """The values of five levels, or the one value that all share."""
    texts = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _first_line(target: object) -> str:
    return (inspect.getdoc(target) or "").partition("\n")[0]


_TABLES: Mapping[Registry, tuple[tuple[str, ...], Callable[[Entry], tuple[str, ...]]]] = {
    "models": (("model", "parameters", "zoo", "what it is", "from"), _model),
    "datasets": (("dataset", "larger", "what it is", "from"), _dataset),
    "attacks": (
        (
            "attack",
            "norm",
            "classes",
            "what it does",
            "parameters",
            "passes a volume",
            "checks",
            "source",
        ),
        _attack,
    ),
    "artefacts": (
        ("artefact", "group", "what it does", "levels 1 to 5", "unit", "plausible for", "source"),
        _artefact,
    ),
}
"""Of each registry: the columns, and what makes a row of an entry."""
