"""Recipes: what of them enters an identity, and what they refuse."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from benchharness.canonical import digest
from benchharness.errors import BenchError
from benchharness.networks.preprocessing import Preprocessing
from benchharness.training import recipes
from benchharness.training.recipe import Recipe
from benchharness.training.recipes import RECIPES

IDENTITIES = {
    "quick": "494ed684a024693ae0fb77c2e1491c107ea8b59e6c240562ba7faaa3264994db",
    "medmnist": "8a8f5ffb18220772b3934d7b1c4381ec63f43d77f83a41a102214c2e616d2054",
    "medmnist2d": "65111d7f6dc0cc90c305e7e2dfce9ef375a491cd6691b90d3377cd7f732b56a7",
}
"""Of recipes under which records were committed; computed before recipes had an adversary."""

EVERYTHING = replace(
    recipes.find("adv_fast"),
    name="everything",
    rotation=5.0,
    zoom=0.1,
    shift=0.1,
    artefacts=("blur",),
    artefact_levels=(1,),
    artefact_share=0.5,
    trades=1.0,
    label_smoothing=0.1,
    averaging=0.9,
)
"""Every setting that adversarial training allows."""

OTHERS: dict[str, tuple[str, Any]] = {
    "mixup": ("strong", 0.3),
    "noise": ("noise", 0.2),
    "optimiser": ("quick", "adam"),
    "schedule": ("quick", "steps"),
    "artefacts": ("everything", ("blur", "motion")),
    "artefact_levels": ("everything", (1, 2)),
    "starts_from": ("everything", "strong"),
    "steps": ("adv_pgd", 8),
    "keep": ("quick", "last"),
}
"""Recipe and other value, where another by arithmetic would not do."""


def test_an_unknown_recipe_lists_what_there_is() -> None:
    with pytest.raises(BenchError) as caught:
        recipes.find("medmist")
    assert str(caught.value) == (
        "unknown recipe 'medmist'. Did you mean 'medmnist' or 'medmnist2d'? Known: adv_artefact, "
        "adv_fast, adv_pgd, artefact_augment, finetune, medmnist, medmnist2d, noise, quick, "
        "scratch, strong, trades."
    )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete(name: str) -> None:
    recipe = recipes.find(name)
    assert recipe.name == name
    assert recipe.source
    assert recipe.summary
    assert not recipe.starts_from or recipe.starts_from in RECIPES


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_of_committed_records_stay(name: str) -> None:
    assert digest(recipes.find(name).to_pairs()) == IDENTITIES[name]


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_every_setting_but_the_texts_enters_the_identity(field: str) -> None:
    name, other = OTHERS.get(field, ("everything", None))
    recipe = EVERYTHING if name == "everything" else recipes.find(name)
    value = getattr(recipe, field)
    if other is None:
        changes = {bool: lambda: not value, str: lambda: value + "x", int: lambda: value + 1}
        other = changes.get(type(value), lambda: value / 2)()
    changed = replace(recipe, **{field: other})
    same = digest(changed.to_pairs()) == digest(recipe.to_pairs())
    assert same == (field in ("source", "summary"))


def test_a_new_version_of_an_artefact_is_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchharness.artefacts.general import Blur

    before = EVERYTHING.to_pairs()
    monkeypatch.setattr(Blur, "version", Blur.version + 1)
    assert EVERYTHING.to_pairs() != before


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


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        ("quick", {"eps": 0.1}, "steps and relative_step must be above 0 where eps is"),
        ("quick", {"steps": 3}, "steps, relative_step, trades, ramp and selection_steps need eps"),
        ("quick", {"trades": 6.0}, "need eps above 0"),
        ("quick", {"ramp": 2}, "need eps above 0"),
        ("adv_pgd", {"ramp": 9}, "ramp is 9, more than its 8 epochs"),
        ("adv_pgd", {"overfitting_gap": 0.3}, "overfitting_gap is for a single step; set steps"),
        ("adv_fast", {"selection_steps": 0}, "overfitting_gap needs selection_steps"),
        ("adv_pgd", {"mixup": 0.2}, "mixup cannot be combined with eps"),
        ("adv_pgd", {"noise": 0.2}, "noise cannot be combined with eps"),
        ("quick", {"artefacts": ("blur",)}, "artefacts, artefact_levels and artefact_share go"),
        ("artefact_augment", {"artefact_share": 0.0}, "set all or none"),
        ("quick", {"starts_from": "quick"}, "it cannot start from itself"),
        ("quick", {"epochs": 0}, "epochs must be from 1 to 10000, received 0"),
        ("quick", {"epochs": 2.5}, "epochs must be a whole number, received 2.5"),
        ("quick", {"flips": 1}, "flips must be true or false, received 1"),
        ("quick", {"learning_rate": True}, "learning_rate must be a number, received True"),
        ("quick", {"learning_rate": float("nan")}, "learning_rate must be from"),
        ("quick", {"optimiser": "sgd"}, "optimiser must be adam or adamw, received 'sgd'"),
        ("artefact_augment", {"artefacts": "blur"}, "artefacts must be a list, received 'blur'"),
        ("artefact_augment", {"artefact_levels": (1, 6)}, "artefact_levels must be from 1 to 5"),
        ("quick", {"name": "../x"}, "a recipe cannot be called '../x'"),
    ],
)
def test_settings_that_make_no_training_are_refused(
    base: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchError) as caught:
        replace(recipes.find(base), **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_work_of_a_recipe_counts_its_adversary() -> None:
    quick, adv = recipes.find("quick"), replace(recipes.find("adv_pgd"), epochs=4)
    assert quick.passes(100, 10) == 4 * (3 * 100 + 10)
    # Seven steps of two passes each, and PGD-10 on the val split.
    assert adv.passes(100, 10) == 4 * ((3 + 14) * 100 + 25 * 10)
