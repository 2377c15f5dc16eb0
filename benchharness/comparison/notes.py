"""What a comparison is about, where that is more than two checkpoints of one training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.cells import OWN_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.comparison.sides import Seed, Side


def notes(base: Side, new: Side) -> tuple[str, ...]:
    """Sentences for every model and dataset that both sides have."""
    return tuple(
        f"{' on '.join(where)}: {said}"
        for where in sorted(base.seeds.keys() & new.seeds.keys())
        for said in _said(base, new, where)
    )


def _said(base: Side, new: Side, where: tuple[str, str]) -> Iterator[str]:
    own, other = (side.builds[where] for side in (base, new))
    recipes = [dict(build["recipe"] or ()).get("name", OWN_WEIGHTS) for build in (own, other)]
    differing = [key for key in own if own[key] != other[key]]
    if "recipe" in differing and recipes[0] != recipes[1]:
        differing[differing.index("recipe")] = f"recipe ({recipes[0]} → {recipes[1]})"
    if differing:
        yield f"the models differ in {', '.join(differing)}."
    of_base, of_new = (side.seeds[where] for side in (base, new))
    if of_base != of_new:
        yield f"training seeds {_listed(of_base)} in BASE, {_listed(of_new)} in NEW."
    if max(len(of_base), len(of_new)) > 1:
        yield (
            f"means over {len(of_base)} and {len(of_new)} training seeds; the intervals are for "
            "these checkpoints on other volumes, not for other seeds."
        )


def _listed(seeds: tuple[Seed, ...]) -> str:
    return OWN_WEIGHTS if seeds == (None,) else ", ".join(map(str, seeds))
