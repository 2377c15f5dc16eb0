"""Every attack sees the same network behind every adapter, and stays within its norm."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchharness.attacks.core.norms import norm_named
from benchharness.networks.adapters import Outputs
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import task, trained
from tests.attacks.test_attack_contract import (
    ATTACKS,
    SEVERITY,
    applicable,
    attack_named,
    attacked,
)
from tests.returning import ANSWERS, wrapped

QUICKLY = ("a_dict", "a_voxel", "one_logit")
"""The adapters that the default suite tries: one of each kind."""


def _cases(*, single: bool) -> list[Any]:
    return [
        pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow)
        for name, (_, outputs) in ANSWERS.items()
        if (outputs.get("form") == "logit") == single
    ]


class _Difference(nn.Module):
    """Logits [0, z] made by the network itself, for comparison with the adapter's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        logits = self.inner(volumes)
        z = logits[:, 1:2] - logits[:, :1]
        return torch.cat([torch.zeros_like(z), z], dim=1)


def behind(adapter: str, classes: int) -> Classifier:
    network = wrapped(trained(classes).network, adapter)
    return Classifier(network, outputs=Outputs(**ANSWERS[adapter][1]), num_classes=classes)


@cache
def plain(name: str, classes: int) -> np.ndarray:
    """What an attack makes of the network that returns logits itself."""
    network = trained(classes).network if classes > 2 else _Difference(trained(classes).network)
    volumes, labels = task(2, classes, seed=5)
    made = attacked(attack_named(name), Classifier(network, num_classes=classes), volumes, labels)
    return made.volumes.numpy()


def hold(name: str, adapter: str, classes: int) -> None:
    attack = attack_named(name)
    if not applicable(attack, classes):
        pytest.skip(f"{name} does not apply to {classes} classes")
    classifier = behind(adapter, classes)
    volumes, labels = task(2, classes, seed=5)
    outcome = attacked(attack, classifier, volumes, labels)
    norms = norm_named(attack.norm).size(outcome.volumes - volumes).numpy()
    assert np.array_equal(outcome.norms, norms)
    assert norms.max() <= SEVERITY[attack.norm] + 1e-6
    assert outcome.volumes.min() >= 0
    assert outcome.volumes.max() <= 1
    certificate = attack.certificate([outcome], severity=SEVERITY[attack.norm], num_classes=classes)
    assert [check.reason for check in certificate if check.verdict == "failed"] == []
    assert np.array_equal(outcome.volumes.numpy(), plain(name, classes))


@pytest.mark.parametrize("adapter", _cases(single=False))
@pytest.mark.parametrize("name", ATTACKS)
def test_another_container_changes_no_voxel(name: str, adapter: str) -> None:
    hold(name, adapter, 4)


@pytest.mark.parametrize("adapter", _cases(single=True))
@pytest.mark.parametrize("name", ATTACKS)
def test_one_logit_is_attacked_as_zero_and_itself(name: str, adapter: str) -> None:
    hold(name, adapter, 2)


@pytest.mark.parametrize("name", ATTACKS)
def test_probabilities_stay_within_the_norm(name: str) -> None:
    attack, network = attack_named(name), nn.Sequential(trained(4).network, nn.Softmax(1))
    classifier = Classifier(network, outputs=Outputs(form="probabilities"), num_classes=4)
    volumes, labels = task(2, 4, seed=5)
    outcome = attacked(attack, classifier, volumes, labels)
    assert outcome.norms.max() <= SEVERITY[attack.norm] + 1e-6
    assert np.isfinite(outcome.logits).all()
