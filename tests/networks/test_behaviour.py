"""Networks that draw, depend on the batch, or change their input or themselves are found out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchharness.networks import behaviour
from benchharness.networks.behaviour import BATCH, DRAWS, INPUT, STATE
from benchharness.networks.classifier import Classifier
from tests import hostile, samples

VOLUMES = samples.volumes("test")[0][:, None]


def verdicts(name: str, count: int = 12) -> dict[str, str]:
    torch.manual_seed(0)
    network = samples.tiny(2) if name == "tiny" else hostile.KINDS[name](2, 1, 6)
    found = behaviour.checks(Classifier(network, num_classes=2), VOLUMES[:count])
    return {check.name: check.verdict for check in found}


PASSED = dict.fromkeys((DRAWS, BATCH, INPUT, STATE), "passed")


@pytest.mark.parametrize(
    ("name", "differing"),
    [
        ("tiny", {}),
        ("caches", {}),
        ("dropout_on", {DRAWS: "failed"}),
        ("normalises_by_batch", {BATCH: "failed", STATE: "failed"}),
        ("by_position", {BATCH: "failed"}),
        ("writes_to_its_input", {INPUT: "failed"}),
        ("counts", {STATE: "failed"}),
        ("one_at_a_time", dict.fromkeys(PASSED, "not applicable")),
        ("never_alone", {}),
    ],
)
def test_each_habit_fails_its_own_check(name: str, differing: dict[str, str]) -> None:
    assert verdicts(name) == PASSED | differing


class _DrawsInCompany(nn.Module):
    """Draws at random and normalises by the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = samples.tiny(2)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        logits = self.inner(volumes + 0.1 * torch.randn_like(volumes))
        return (logits - logits.mean(0)) / (logits.std(0) + 1e-3)


def test_a_network_may_draw_and_depend_on_the_batch() -> None:
    found = behaviour.checks(Classifier(_DrawsInCompany(), num_classes=2), VOLUMES)
    failed = {check.name: check.reason for check in behaviour.failed(found)}
    assert failed.keys() == {DRAWS, BATCH}
    assert "with the same draws, those to a volume among different others" in failed[BATCH]


def test_one_volume_has_no_company() -> None:
    assert verdicts("by_position", count=1) == PASSED | {BATCH: "not applicable"}


def test_the_reason_says_what_was_found() -> None:
    classifier = Classifier(hostile.KINDS["normalises_by_batch"](2, 1, 6), num_classes=2)
    reasons = {check.name: check.reason for check in behaviour.checks(classifier, VOLUMES)}
    assert reasons[DRAWS] == ""
    assert "answers depend on the batch: those to volumes alone and among 8" in reasons[BATCH]
    assert "changes its state" in reasons[STATE]
    assert "running_mean" in reasons[STATE]


def test_the_network_the_volumes_and_the_generators_are_left_as_they_were() -> None:
    for name in hostile.KINDS:
        network = hostile.KINDS[name](2, 1, 6).train()
        before = {key: value.clone() for key, value in network.state_dict().items()}
        generators, volumes = torch.get_rng_state(), VOLUMES.copy()
        behaviour.checks(Classifier(network, num_classes=2), volumes)
        assert network.training
        assert torch.equal(torch.get_rng_state(), generators)
        assert np.array_equal(volumes, VOLUMES)
        if name != "counts":  # it replaces its buffer instead of writing to it
            after = network.state_dict()
            assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(samples.tiny(2), num_classes=2)
    sizes: list[int] = []
    forward = Classifier.forward

    def small(self: Classifier, volumes: torch.Tensor) -> torch.Tensor:
        sizes.append(len(volumes))
        if len(volumes) > 2:
            raise torch.OutOfMemoryError
        return forward(self, volumes)

    monkeypatch.setattr(Classifier, "forward", small)
    assert {c.name: c.verdict for c in behaviour.checks(classifier, VOLUMES)} == PASSED
    assert sizes[:3] == [8, 4, 2]
