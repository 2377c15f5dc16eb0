"""Recipes: named, complete ways of training a checkpoint.

A config file makes others from them (`variants`).
"""

from __future__ import annotations

from dataclasses import replace

from benchharness.errors import unknown_name
from benchharness.training.recipe import Recipe

_QUICK = Recipe(
    name="quick",
    version=1,
    source="this project",
    summary="a usable model in minutes on a CPU",
    epochs=4,
    batch_size=16,
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="one-cycle",
    flips=True,
)

_MEDMNIST = Recipe(
    name="medmnist",
    version=1,
    source="MedMNIST3D/train_and_eval_pytorch.py of the MedMNIST v2 experiments",
    summary="the official MedMNIST3D protocol: 100 epochs, best val AUC",
    epochs=100,
    batch_size=32,
    optimiser="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    schedule="steps",
    shape_scaling=True,
)

_STRONG = replace(
    _QUICK,
    name="strong",
    version=2,
    source="this project",
    summary="the best clean AUC in 20 epochs: balanced classes, affines, averaged weights",
    epochs=20,
    balanced=True,
    averaging=0.995,
    keep="last",
    label_smoothing=0.1,
    rotation=10.0,
    zoom=0.1,
    shift=0.05,
)

_LONGER = replace(_QUICK, epochs=8)
"""What the recipes that buy robustness share: `quick` for twice as long."""

_ADV_PGD = replace(
    _LONGER,
    name="adv_pgd",
    source="Madry et al., ICLR 2018, arXiv 1706.06083; settings are this project's",
    summary="adversarial training: PGD-7 at 4/255 in L∞, from a clean checkpoint",
    eps=4 / 255,
    steps=7,
    relative_step=2.5,
    ramp=2,
    starts_from="quick",
    selection_steps=10,
)

_ARTEFACT_AUGMENT = replace(
    _LONGER,
    name="artefact_augment",
    source="this project",
    summary="half of the volumes show one of six artefacts at levels 1 to 3",
    artefacts=("bias_field", "ghosting", "gaussian_noise", "blur", "gamma", "affine"),
    artefact_levels=(1, 2, 3),
    artefact_share=0.5,
)

_FINETUNE = replace(
    _QUICK,
    name="finetune",
    summary="few labelled volumes from a source's weights: 80 steps or more, no selection",
    learning_rate=3e-4,
    epochs=4,
    keep="last",
    least_steps=80,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _QUICK,
        _MEDMNIST,
        replace(
            _MEDMNIST,
            name="medmnist2d",
            source="MedMNIST2D/train_and_eval_pytorch.py of the MedMNIST v2 experiments",
            summary="the official MedMNIST2D protocol: 100 epochs in batches of 128, best val AUC",
            batch_size=128,
            shape_scaling=False,
        ),
        _STRONG,
        _ADV_PGD,
        replace(
            _ADV_PGD,
            name="trades",
            source="Zhang et al., ICML 2019, arXiv 1901.08573; settings are this project's",
            summary="TRADES: the clean loss and 6 times the divergence under PGD-7 at 4/255",
            trades=6.0,
        ),
        replace(
            _ADV_PGD,
            name="adv_fast",
            source="Wong et al., ICLR 2020, arXiv 2001.03994; settings are this project's",
            summary="adversarial training with one step of 1.25 ε from a random start, at 4/255",
            steps=1,
            relative_step=1.25,
            overfitting_gap=0.3,
        ),
        replace(
            _LONGER,
            name="noise",
            source="Cohen et al., ICML 2019, arXiv 1902.02918; settings are this project's",
            summary="Gaussian noise of σ 0.1 on every volume, for certificates by smoothing",
            noise=0.1,
        ),
        _ARTEFACT_AUGMENT,
        replace(
            _ADV_PGD,
            name="adv_artefact",
            source="this project",
            summary="adv_pgd on the volumes of artefact_augment",
            artefacts=_ARTEFACT_AUGMENT.artefacts,
            artefact_levels=_ARTEFACT_AUGMENT.artefact_levels,
            artefact_share=_ARTEFACT_AUGMENT.artefact_share,
        ),
        _FINETUNE,
        replace(
            _FINETUNE,
            name="scratch",
            summary="few labelled volumes from random weights: finetune at the peak rate of quick",
            learning_rate=_QUICK.learning_rate,
        ),
    )
}


def find(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        BenchError: If there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
