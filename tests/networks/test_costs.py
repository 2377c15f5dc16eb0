"""Costs of networks small enough to know them by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchharness.networks import costs
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from tests import samples

FLOAT = 4
"""Bytes of a float32."""


class Chain(nn.Module):
    """Elementwise steps of one size, some of which must outlive others."""

    def forward(self, volumes: Tensor) -> Tensor:
        one = volumes + 1
        two = one + 1
        del one
        three = two + 1
        kept = three.view(-1)
        del two, three
        four = kept * 2
        return four[:2].clone().view(1, 2)


class Sequence(nn.Sequential):
    """Convolutions with and without an activation in place, then a head."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(4, 2, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(2 * 512, 3),
        )


def test_operations_of_a_convolution_and_of_a_linear_layer() -> None:
    convolution = nn.Conv3d(2, 5, 3, padding=1, stride=2)
    assert costs.count_flops(convolution, torch.rand(1, 2, 8, 8, 8)) == 2 * 4**3 * 5 * 2 * 3**3
    grouped = nn.Conv3d(4, 4, 3, padding=1, groups=4)
    assert costs.count_flops(grouped, torch.rand(1, 4, 8, 8, 8)) == 2 * 8**3 * 4 * 3**3
    assert costs.count_flops(nn.Linear(7, 3), torch.rand(1, 7)) == 2 * 7 * 3
    assert costs.count_flops(nn.Linear(7, 3), torch.rand(6, 7)) == 6 * 2 * 7 * 3


def test_operations_are_the_same_on_the_meta_device() -> None:
    here = costs.count_flops(samples.tiny(3), torch.rand(1, 1, 12, 12, 12))
    with torch.device("meta"):
        there = costs.count_flops(samples.tiny(3), torch.rand(1, 1, 12, 12, 12))
    assert here == there > 0


def peak(network: nn.Module, volumes: Tensor, num_classes: int) -> int:
    classifier = Classifier(network, num_classes=num_classes)
    with torch.no_grad():
        return costs._peak_memory(classifier, volumes)


def test_peak_memory_of_a_chain_of_steps() -> None:
    size = 1000 * FLOAT
    # The volumes, then `three` (alive through its view) and `four`, then the clone.
    assert peak(Chain(), torch.rand(1, 1, 10, 10, 10), 2) == size + 2 * size + 2 * FLOAT


def test_peak_memory_of_convolutions() -> None:
    parameters = (4 * 27 + 4) + (2 * 4 * 27 + 2) + (3 * 1024 + 3)
    # At its highest the first convolution's output stands beside its activation.
    by_hand = FLOAT * (parameters + 512 + 2 * 4 * 512)
    assert peak(Sequence(), torch.rand(1, 1, 8, 8, 8), 3) == by_hand


def test_peak_memory_does_not_depend_on_what_ran_before() -> None:
    network, volumes = Sequence(), torch.rand(1, 1, 8, 8, 8)
    first = peak(network, volumes, 3)
    assert [peak(network, volumes, 3) for _ in range(3)] == [first] * 3


def test_everything_is_measured_and_the_classifier_left_as_it_was() -> None:
    classifier = Classifier(samples.tiny(3), Preprocessing(size=(6, 6, 6)), num_classes=3)
    classifier.train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    generator = torch.get_rng_state()
    found = costs.measure(classifier, (1, 12, 12, 12))
    assert found.parameters == sum(p.numel() for p in classifier.parameters())
    assert found.flops == 2 * 6**3 * 6 * 27 + 2 * 3**3 * 6 * 6 * 27 + 2 * 6 * 3
    assert 0 < found.latency_ms < 10_000
    assert found.latency_batch == costs.LATENCY_BATCH
    assert found.peak_memory_mib is not None
    assert found.parameters * FLOAT / 2**20 < found.peak_memory_mib < 1
    assert classifier.training
    assert all(p.requires_grad for p in classifier.parameters())
    assert all(
        torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items()
    )
    assert torch.equal(torch.get_rng_state(), generator)
