"""Recipes of a config file."""

from __future__ import annotations

from typing import Any

import pytest

from benchharness.canonical import pairs
from benchharness.errors import BenchError
from benchharness.training import recipes, variants


def known(**tables: dict[str, Any]) -> dict[str, Any]:
    return variants.known((name, pairs(table)) for name, table in tables.items())


def test_a_table_varies_a_recipe() -> None:
    found = known(mine={"base": "adv_pgd", "eps": "8/255", "steps": 10, "ramp": 0})["mine"]
    assert known(mine={"base": "adv_pgd", "eps": " 8 / 255"})["mine"].eps == found.eps
    base = recipes.find("adv_pgd")
    assert (found.name, found.eps, found.steps, found.ramp) == ("mine", 8 / 255, 10, 0)
    assert (found.epochs, found.starts_from) == (base.epochs, "quick")
    assert found.source == "a config file, after adv_pgd"


def test_a_recipe_of_the_harness_may_be_varied_under_its_name() -> None:
    found = known(quick={"epochs": 9})
    assert found["quick"].epochs == 9
    assert recipes.find("quick").epochs == 4


def test_a_group_of_artefacts_stands_for_its_members() -> None:
    found = known(mine={"base": "artefact_augment", "artefacts": ["ct", "blur"]})["mine"]
    assert found.artefacts == ("poisson_noise", "streaks", "blur")


def test_a_chain_of_recipes_is_trained_from_its_end() -> None:
    found = known(
        longer={"base": "quick", "epochs": 9}, mine={"base": "trades", "starts_from": "longer"}
    )
    assert [one.name for one in variants.chain("mine", found)] == ["longer", "mine"]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"mine": {"epochs": 3}}, '[recipe.mine] needs base = "NAME", one of adv_artefact, '),
        ({"mine": {"base": 3}}, '[recipe.mine] needs base = "NAME"'),
        ({"mine": {"base": "quik"}}, "unknown recipe 'quik'. Did you mean 'quick'"),
        (
            {"quick": {"base": "strong"}},
            "[recipe.quick] has base = 'strong', and quick is a recipe",
        ),
        (
            {"mine": {"base": "quick", "epoch": 3}},
            "unknown key of [recipe.mine] 'epoch'. Did you mean 'epochs'",
        ),
        ({"mine": {"base": "quick", "version": 3}}, "unknown key of [recipe.mine] 'version'"),
        ({"mine": {"base": "quick", "epochs": "3"}}, "epochs must be a whole number, received '3'"),
        ({"mine": {"base": "adv_pgd", "eps": 2}}, "recipe 'mine': eps must be from 0 to 1, rec"),
        ({"mine": {"base": "adv_pgd", "eps": "4/0"}}, "eps takes a number such as 4/255 or 0.02"),
        (
            {"mine": {"base": "artefact_augment", "artefacts": ["blurr"]}},
            "unknown artefact 'blurr'. Did you mean 'blur'",
        ),
        ({"a b": {"base": "quick"}}, "a recipe cannot be called 'a b'"),
        (
            {"mine": {"base": "adv_pgd", "starts_from": "your"}},
            "unknown recipe 'your'. Known: ",
        ),
        (
            {
                "a": {"base": "quick", "starts_from": "b"},
                "b": {"base": "quick", "starts_from": "a"},
            },
            "recipes start from each other: a from b from a. Let one start from none.",
        ),
    ],
)
def test_mistakes_in_tables_take_one_line(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError) as caught:
        known(**tables)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
