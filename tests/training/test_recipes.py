"""Recipes, and what of them enters an identity."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from benchharness.canonical import digest
from benchharness.errors import BenchError
from benchharness.networks.preprocessing import Preprocessing
from benchharness.training import recipes
from benchharness.training.recipes import RECIPES, Recipe


def test_an_unknown_recipe_lists_what_there_is() -> None:
    with pytest.raises(BenchError) as caught:
        recipes.find("medmist")
    assert str(caught.value) == (
        "unknown recipe 'medmist'. Did you mean 'medmnist' or 'medmnist2d'? "
        "Known: medmnist, medmnist2d, quick."
    )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete(name: str) -> None:
    recipe = recipes.find(name)
    assert recipe.name == name
    assert recipe.source
    assert recipe.summary
    assert recipe.epochs >= 1
    assert recipe.batch_size >= 1
    assert recipe.learning_rate > 0


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_every_setting_but_the_texts_enters_the_identity(field: str) -> None:
    recipe = recipes.find("quick")
    value = getattr(recipe, field)
    other: object = not value if isinstance(value, bool) else value + type(value)(1)
    changed = replace(recipe, **{field: other})
    same = digest(changed.to_pairs()) == digest(recipe.to_pairs())
    assert same == (field in ("source", "summary"))


def test_the_official_recipe_is_the_official_one() -> None:
    """MedMNIST v2's train_and_eval_pytorch.py for MedMNIST3D."""
    assert dict(recipes.find("medmnist").to_pairs()) == {
        "name": "medmnist",
        "version": 1,
        "epochs": 100,
        "batch_size": 32,
        "optimiser": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "steps",
        "flips": False,
        "label_smoothing": 0.0,
        "shape_scaling": True,
    }


def test_shape_sets_follow_their_protocol_under_the_official_recipe_alone() -> None:
    official, quick = recipes.find("medmnist"), recipes.find("quick")
    assert official.preprocessing("shape") == Preprocessing(scale=0.5)
    assert official.scales_randomly("shape")
    for recipe, modality in ((official, "ct"), (quick, "shape"), (quick, "phantom")):
        assert recipe.preprocessing(modality) == Preprocessing()  # type: ignore[arg-type]
        assert not recipe.scales_randomly(modality)  # type: ignore[arg-type]
