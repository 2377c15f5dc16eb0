"""Images are volumes of depth 1: every attack and artefact works on them or says why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchharness import artefacts, attacks, registry
from benchharness.attacks.core.norms import norm_named
from benchharness.errors import BenchError, CellError
from benchharness.networks.classifier import Classifier
from tests import samples

IDS = tuple(f"flat/test/{index}" for index in range(3))


def volumes(channels: int) -> torch.Tensor:
    return torch.rand(3, channels, 1, 16, 16, generator=torch.Generator().manual_seed(channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", registry.entries("artefacts"))
def test_an_artefact_changes_an_image_or_says_why_not(name: str, channels: int) -> None:
    artefact = artefacts.build(name)
    for level in (1, 5):
        volume = volumes(channels)[0]
        try:
            found = artefact(volume, severity=level, id=IDS[0], seed=0).volume
        except (BenchError, CellError):
            continue  # a reason instead of numbers
        assert found.shape == volume.shape
        assert found.min() >= 0
        assert found.max() <= 1
        assert not torch.equal(found, volume)


@pytest.mark.parametrize("name", registry.entries("attacks"))
def test_an_attack_stays_in_its_ball_on_images(name: str) -> None:
    few = {"steps": 3, "queries": 20, "search_steps": 1, "refinements": 1}
    known = dict(attacks.build(name, {}).parameters())
    attack = attacks.build(name, {key: few[key] for key in known if key in few})
    channels, classes = 3, 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = samples.tiny(classes, channels).eval()
    classifier = Classifier(network, num_classes=classes)
    clean = volumes(channels)
    labels = torch.from_numpy(classifier.predict(clean, 3).argmax(1))
    severity = 2 if norm_named(attack.norm).counts else 8 / 255
    outcome = attack(classifier, clean, labels, severity=severity, ids=IDS, seed=0)
    assert outcome.volumes.shape == clean.shape
    assert np.isfinite(outcome.logits).all()
    assert outcome.volumes.min() >= 0
    assert outcome.volumes.max() <= 1
