"""The recipes of a run: those that it asks for, and those that its config file makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.run.carrying import FINE_TUNING, FROM_SCRATCH
from benchharness.store.carried import SCRATCH
from benchharness.training import variants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchharness.datasets import Dataset
    from benchharness.run.config import RunConfig


def check(config: RunConfig, trained_on: Iterable[Dataset]) -> None:
    """Refuse recipes that do not exist, and tables of a config file that change nothing.

    Raises:
        BenchError: For either.
    """
    known = variants.known(config.recipe_options)
    asked = config.recipes or tuple(dataset.default_recipe for dataset in trained_on)
    if any(config.shots):
        asked = (*asked, FINE_TUNING, *([FROM_SCRATCH] if SCRATCH in config.train_on else []))
    asked = (*asked, *(name for name in config.recipes_left_out if name in known))
    for name in (FINE_TUNING, FROM_SCRATCH):
        if any(config.shots) and known[name].starts_from:
            begins = "random weights" if name == FROM_SCRATCH else "the source's weights"
            raise BenchError(
                f"[recipe.{name}] has starts_from = {known[name].starts_from!r}, and with --shots "
                f"it begins with {begins}. Take starts_from out."
            )
        if any(config.shots) and known[name].balanced:
            raise BenchError(
                f"[recipe.{name}] is balanced, which fits a bias to the val split, and with "
                "--shots none is read. Take balanced out."
            )
    used = {recipe.name for name in asked for recipe in variants.chain(name, known)}
    for name, _ in config.recipe_options:
        if name not in used:
            raise BenchError(
                f"[recipe.{name}] of the config makes a recipe that this run does not use. Add "
                f"{name} to --recipes or take the table out."
            )
