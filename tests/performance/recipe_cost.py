"""What an epoch of each recipe costs beside one of `quick`."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness import datasets, registry, training
from benchharness.store.cells import ModelKey
from benchharness.training import loop, recipes

if TYPE_CHECKING:
    from benchharness.datasets.base import Dataset

MODELS = ("medvit3d_n",)
TRAIN, VAL = 32, 16
"""Volumes of phantom3d."""
ROUNDS = 3


def main() -> None:
    """Print the ratios, each the median of rounds in which all recipes take turns."""
    whole = datasets.load("phantom3d")
    small = dataclasses.replace(
        whole,
        train=whole.train.subset(TRAIN),
        val=whole.val.subset(VAL),
        test=whole.test.subset(VAL),
    )
    print(f"An epoch of {TRAIN} training and {VAL} val volumes of phantom3d, against `quick`:")
    for name in MODELS:
        model = ModelKey(name=name, factory=registry.resolve("models", name).target)
        taken: dict[str, list[float]] = {recipe: [] for recipe in recipes.RECIPES}
        _epoch(model, small, "quick")  # the first epoch of a process takes longer
        for _ in range(ROUNDS):
            for recipe, seconds in taken.items():
                seconds.append(_epoch(model, small, recipe))
        quick = statistics.median(taken["quick"])
        for recipe, seconds in taken.items():
            ratios = sorted(s / q for s, q in zip(seconds, taken["quick"], strict=True))
            print(
                f"  {name:<14}{recipe:<18}{statistics.median(ratios):6.2f}  "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}; quick {quick:.1f} s)"
            )


def _epoch(model: ModelKey, data: Dataset, name: str) -> float:
    """Seconds of one epoch at the whole budget, its judgement on the val split included."""
    found = recipes.find(name)
    # Looked at, and never exceeded.
    gap = 1.0 if found.overfitting_gap else 0.0
    recipe = dataclasses.replace(found, epochs=1, ramp=0, starts_from="", overfitting_gap=gap)
    with tempfile.TemporaryDirectory() as folder:
        job = training.Job(
            model=model, dataset=data, recipe=recipe, seed=0, directory=Path(folder) / "c"
        )
        seconds: list[float] = []
        began = time.perf_counter()
        loop.train(job, device="cpu", report=lambda _: seconds.append(time.perf_counter() - began))
    return seconds[0]


if __name__ == "__main__":
    main()
