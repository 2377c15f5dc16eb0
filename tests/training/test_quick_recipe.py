"""The quick recipe on the phantom: what a user sees first, held to what the phantom promises."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import datasets, training
from benchharness.datasets import phantom
from benchharness.networks import checkpoints
from benchharness.statistics import metrics
from benchharness.store.cells import ModelKey
from benchharness.training import recipes

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets import Dataset

pytestmark = pytest.mark.slow

CHANCE = 0.25


def accuracy(factory: str, dataset: Dataset, folder: Path) -> float:
    """Test accuracy of a network after the quick recipe with seed 0."""
    recipe = recipes.find("quick")
    model = ModelKey(name=factory.partition(":")[2], factory=factory)
    job = training.Job(model=model, dataset=dataset, recipe=recipe, seed=0, directory=folder)
    training.train(job, device="cpu", report=lambda _: None)
    classifier = checkpoints.load_classifier(
        model,
        folder / checkpoints.WEIGHTS,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        device="cpu",
    )
    logits = classifier.predict(dataset.test.volumes, 32)
    return float(metrics.correct(dataset.test.labels, logits).mean())


@pytest.mark.parametrize(
    ("factory", "low", "high"),
    [
        ("baselines.resnet:resnet3d_18", 0.80, 0.98),
        ("medvit3d.variants:medvit3d_t", 0.60, 1.0),
    ],
)
def test_networks_learn_the_phantom_and_are_not_done_with_it(
    tmp_path: Path, factory: str, low: float, high: float
) -> None:
    assert low <= accuracy(factory, datasets.load("phantom3d", None), tmp_path) <= high


@pytest.mark.parametrize(
    "factory", ["baselines.resnet:resnet3d_18", "medvit3d.variants:medvit3d_n"]
)
def test_networks_are_at_chance_with_the_structure_erased(tmp_path: Path, factory: str) -> None:
    whole = datasets.load("phantom3d", None)
    splits = {
        name: dataclasses.replace(
            split, volumes=phantom.volumes(name, 28, structure=False)[0][:, None]
        )
        for name, split in (("train", whole.train), ("val", whole.val), ("test", whole.test))
    }
    erased = dataclasses.replace(whole, digest="sha256:erased", **splits)
    found = accuracy(factory, erased, tmp_path)
    # Four standard errors of a guess among four classes.
    assert abs(found - CHANCE) < 4 * np.sqrt(CHANCE * (1 - CHANCE) / len(whole.test))
