"""The shift between the phantom's renderings is real, and each of them can be learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchharness import datasets
from benchharness.networks import checkpoints
from benchharness.networks.classifier import Classifier
from benchharness.store.cells import ModelKey
from benchharness.training import Job, loop, recipes

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets import Dataset

MODEL = ModelKey(name="medvit3d_n", factory="medvit3d.variants:medvit3d_n")


def _accuracies(source: Dataset, targets: list[Dataset], folder: Path) -> list[float]:
    recipe = recipes.find("quick")
    job = Job(model=MODEL, dataset=source, recipe=recipe, seed=0, directory=folder)
    loop.train(job, device="cpu")
    weights = folder / checkpoints.WEIGHTS
    network = checkpoints.opened(MODEL, weights, num_classes=4, in_channels=1).network
    classifier = Classifier(network, num_classes=4)
    return [
        float((classifier.predict(d.test.volumes, 32).argmax(1) == d.test.labels).mean())
        for d in targets
    ]


@pytest.mark.slow
def test_a_network_of_one_modality_fails_on_the_other_and_radiographs_can_be_read(
    tmp_path: Path,
) -> None:
    ct, mr, xray = (datasets.load(f"phantom3d_{kind}") for kind in ("ct", "mr", "xray"))
    ct_on_ct, ct_on_mr = _accuracies(ct, [ct, mr], tmp_path / "ct")
    mr_on_ct, mr_on_mr = _accuracies(mr, [ct, mr], tmp_path / "mr")
    (on_xray,) = _accuracies(xray, [xray], tmp_path / "xray")
    assert min(ct_on_ct, mr_on_mr, on_xray) > 0.7
    assert max(ct_on_ct, mr_on_mr, on_xray) < 0.99
    assert mr_on_mr - ct_on_mr > 0.2
    assert ct_on_ct - mr_on_ct > 0.2
