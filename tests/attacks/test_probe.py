"""The probe breaks what masked gradients hide, without the network's own backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchharness.attacks import FullRange, Probe
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import BlackBox, names, task, trained
from tests.attacks.test_straight_through import Flipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from benchharness.attacks.core.base import Outcome

CLASSES, COUNT, BUDGET = 4, 24, 16 / 255


class Masked(torch.nn.Module):
    """A network behind something that hides its gradient."""

    def __init__(self, inner: nn.Module, front: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.front = inner, front

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.inner(self.front(volumes))
        return logits


FRONTS: dict[str, Callable[[Tensor], Tensor]] = {
    "honest": lambda volumes: volumes,
    "waves": lambda volumes: volumes + 2e-5 * torch.sin(1e5 * volumes),
    "flipped slices": Flipped.apply,
    "quantised": lambda volumes: (volumes * 255).round() / 255,
    "detached": lambda volumes: volumes.detach(),
    "thermometer": lambda volumes: sum((volumes > k / 16).float() for k in range(16)) / 16,  # type: ignore[return-value]
}


def attacked(attack: Probe | FullRange, network: nn.Module, severity: float) -> Outcome:
    volumes, labels = task(COUNT, CLASSES, seed=5)
    classifier = Classifier(network, num_classes=CLASSES)
    return attack(classifier, volumes, labels, severity=severity, ids=names(COUNT), seed=0)


def left(outcome: Outcome) -> int:
    return int((outcome.logits.argmax(1) == task(COUNT, CLASSES, seed=5)[1].numpy()).sum())


@pytest.mark.parametrize("front", FRONTS)
def test_the_probe_breaks_what_the_mask_hides(front: str) -> None:
    outcome = attacked(Probe(), Masked(trained(CLASSES).network, FRONTS[front]), BUDGET)
    assert left(outcome) <= 5
    broken_by = outcome.findings["broken_by"]
    # Waves need the momentum of several steps; the others fall to the first.
    assert set(np.unique(broken_by)) <= {1, 2, 3, -1}
    assert int((broken_by == (2 if front == "waves" else 1)).sum()) >= 15


def test_where_no_gradient_exists_at_all_random_search_remains() -> None:
    def to_numpy(volumes: Tensor) -> Tensor:
        return torch.from_numpy(volumes.detach().numpy().copy())

    network = Masked(trained(CLASSES).network, to_numpy)
    found = attacked(Probe(queries=300), network, BUDGET).findings["broken_by"]
    assert set(np.unique(found)) == {3, -1}


def test_the_probe_needs_no_way_back() -> None:
    assert left(attacked(Probe(), BlackBox(trained(CLASSES).network), BUDGET)) <= 5


def test_a_network_that_raises_when_asked_for_a_copy_is_searched() -> None:
    def wants_no_company(volumes: Tensor) -> Tensor:
        if torch._C._len_torch_function_stack():
            raise RuntimeError("alone or not at all")
        return volumes

    network = Masked(trained(CLASSES).network, wants_no_company)
    assert set(np.unique(attacked(Probe(), network, 0.5).findings["broken_by"])) <= {3, -1}


def gains(front: str, **changes: Any) -> float:
    """The share of volumes for which a step along the gradient does no better than chance."""
    network = Masked(trained(CLASSES).network, FRONTS[front])
    found = attacked(FullRange(**changes), network, 1.0).findings
    return float(np.mean(found["gain"] <= found["gain_by_noise"]))


def test_the_control_says_how_far_the_first_step_led() -> None:
    assert gains("honest") == 0
    assert gains("quantised", steps=2) > 0.25


def test_the_control_stops_at_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    network = trained(CLASSES).network
    forward = type(network).forward

    def counted(self: nn.Module, volumes: Tensor) -> Tensor:
        passed.append(len(volumes))
        return forward(self, volumes)  # type: ignore[arg-type]

    monkeypatch.setattr(type(network), "forward", counted)
    assert left(attacked(FullRange(), network, 1.0)) == 0
    assert sum(passed) < 20 * COUNT
