"""What a dry run counts for the checks of a network is what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from benchharness.attacks.core import whole_gradient
from benchharness.networks import behaviour, outputs
from benchharness.networks.classifier import Classifier

if TYPE_CHECKING:
    from torch import Tensor


class Counting(nn.Module):
    """A smooth network on the middle of a volume that counts passes of a volume, each way."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(3, 64, generator=generator))
        self.forwards = self.backwards = 0

    def forward(self, volumes: Tensor) -> Tensor:
        self.forwards += len(volumes)
        middle = volumes[:, :, 2:6, 2:6, 2:6].flatten(1)
        logits: Tensor = torch.tanh((middle - 0.5) @ self.weights.T)
        if logits.requires_grad:
            logits.register_hook(self._count)  # type: ignore[no-untyped-call]
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@pytest.mark.parametrize("count", [1, 5, 24, 40])
def test_the_checks_of_a_network_take_as_many_passes_as_are_counted(count: int) -> None:
    volumes = torch.rand(count, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    network = Counting()
    classifier = Classifier(network, num_classes=3).eval()

    def taken() -> tuple[int, int]:
        found = network.forwards, network.backwards
        network.forwards = network.backwards = 0
        return found

    behaviour.checks(classifier, volumes)
    few = count < 2  # one volume has no company
    assert taken() == (2 if few else behaviour.passes(count), 0)
    outputs.checks(classifier, volumes)
    assert taken() == (outputs.passes(count), 0)
    whole_gradient.checks(classifier, volumes)
    most = whole_gradient.passes(count)
    forwards, backwards = taken()
    assert forwards <= most[0]
    assert backwards <= most[1]
    if count == 40:
        assert (forwards, backwards) == most
