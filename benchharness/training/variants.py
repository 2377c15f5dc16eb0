"""Recipes of a config file: a table `[recipe.NAME]` makes another recipe from one that there is."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from benchharness import registry
from benchharness.errors import BenchError, unknown_name
from benchharness.store.cards import FROM_CONFIG
from benchharness.training import recipes
from benchharness.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchharness.canonical import Pairs

_FIXED = ("name", "version", "source", "summary")
"""What a table cannot set."""


def known(tables: Iterable[tuple[str, Pairs]]) -> dict[str, Recipe]:
    """All recipes by name: those of the harness, and those of a config file.

    Args:
        tables: Name and content of every `[recipe.NAME]`. `base` names a recipe of the harness, and
            may be left out where NAME is one; every other key is a field of `Recipe`.

    Raises:
        BenchError: For an unknown base or key, a value of another type or out of its range, and
            recipes that start from each other.
    """
    found = recipes.RECIPES | {name: _variant(name, dict(table)) for name, table in tables}
    for name in found:
        chain(name, found)
    return found


def chain(name: str, among: Mapping[str, Recipe]) -> tuple[Recipe, ...]:
    """A recipe and those that it starts from, one by one, the first to train first.

    Raises:
        BenchError: For an unknown name, or recipes that start from each other.
    """
    found: list[Recipe] = []
    while name:
        if name not in among:
            hint = f"Recipe {found[-1].name!r} starts from it." if found else ""
            raise unknown_name("recipe", name, among, hint=hint)
        found.append(among[name])
        if sum(one.name == name for one in found) > 1:
            order = " from ".join(one.name for one in found)
            raise BenchError(f"recipes start from each other: {order}. Let one start from none.")
        name = found[-1].starts_from
    return tuple(reversed(found))


def _variant(name: str, table: dict[str, Any]) -> Recipe:
    own = recipes.RECIPES.get(name)
    base = table.pop("base", name if own else None)
    if not isinstance(base, str):
        raise BenchError(
            f'[recipe.{name}] needs base = "NAME", one of {", ".join(sorted(recipes.RECIPES))}.'
        )
    if own and base != name:
        raise BenchError(
            f"[recipe.{name}] has base = {base!r}, and {name} is a recipe of its own. Call the "
            "variant something else."
        )
    settings = [field.name for field in fields(Recipe) if field.name not in _FIXED]
    for key in table:
        if key not in settings:
            raise unknown_name(f"key of [recipe.{name}]", key, ["base", *settings])
    changes: dict[str, Any] = {key: _value(name, key, value) for key, value in table.items()}
    return replace(
        recipes.find(base),
        name=name,
        source=f"{FROM_CONFIG}, after {base}",
        summary=f"{base} with {', '.join(sorted(table))}" if table else base,
        **changes,
    )


def _value(name: str, key: str, value: object) -> object:
    """A value as `Recipe` takes it: `"4/255"` as a number, groups of artefacts as their names."""
    if key in ("eps", "relative_step") and isinstance(value, str):
        try:
            return float(Fraction("".join(value.split())))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise BenchError(
                f"recipe {name!r}: {key} takes a number such as 4/255 or 0.02, received {value!r}."
            ) from None
    if (
        key == "artefacts"
        and isinstance(value, list | tuple)
        and all(isinstance(item, str) for item in value)
    ):
        names = registry.expand("artefacts", tuple(value))
        for one in names:
            registry.resolve("artefacts", one)
        return names
    return value
