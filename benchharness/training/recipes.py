"""Recipes: named, complete ways of training a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from benchharness.canonical import Pairs, pairs
from benchharness.errors import unknown_name
from benchharness.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from benchharness.datasets.base import Modality


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every setting of a training; the loop adds none."""

    name: str
    version: int
    """Raised when the same name starts to mean something else."""
    source: str
    """Where the settings come from."""
    summary: str
    epochs: int
    batch_size: int
    optimiser: Literal["adam", "adamw"]
    learning_rate: float
    """Peak learning rate."""
    weight_decay: float
    schedule: Literal["one-cycle", "steps"]
    """`one-cycle` per step; `steps`: × 0.1 at 50 % and at 75 % of the epochs."""
    flips: bool = False
    """Whether each axis of each training volume is flipped with probability one half."""
    label_smoothing: float = 0.0
    shape_scaling: bool = False
    """Whether shape datasets are scaled by U(0, 1) in training and by 0.5 in evaluation, as their
    protocol says."""

    def to_pairs(self) -> Pairs:
        """The settings that enter a checkpoint's key: all but the two texts."""
        return pairs({k: v for k, v in asdict(self).items() if k not in ("source", "summary")})

    def preprocessing(self, modality: Modality) -> Preprocessing:
        """The preprocessing that a network trained with this recipe expects."""
        scaled = self.shape_scaling and modality == "shape"
        return Preprocessing(scale=0.5) if scaled else Preprocessing()

    def scales_randomly(self, modality: Modality) -> bool:
        """Whether training volumes are multiplied by a draw from U(0, 1)."""
        return self.shape_scaling and modality == "shape"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
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
        ),
        Recipe(
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
        ),
        Recipe(
            name="medmnist2d",
            version=1,
            source="MedMNIST2D/train_and_eval_pytorch.py of the MedMNIST v2 experiments",
            summary="the official MedMNIST2D protocol: 100 epochs in batches of 128, best val AUC",
            epochs=100,
            batch_size=128,
            optimiser="adam",
            learning_rate=1e-3,
            weight_decay=0.0,
            schedule="steps",
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
