"""Costs of networks small enough to know them by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchharness.errors import CellError
from benchharness.networks import costs
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from benchharness.store.cells import ModelKey
from tests import hostile, samples

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


@pytest.mark.parametrize(
    ("name", "batch", "latency_batch", "one"),
    [
        ("tiny", 8, 8, True),
        ("tiny", 1, 1, True),
        ("one_at_a_time", 8, 1, True),
        ("at_most_five", 8, 4, True),
        ("never_alone", 8, 8, False),
    ],
)
def test_a_network_is_measured_at_the_batch_that_it_takes(
    name: str, batch: int, latency_batch: int, one: bool
) -> None:
    network = samples.tiny(3) if name == "tiny" else hostile.KINDS[name](3, 1, 6)
    found = costs.measure(Classifier(network, num_classes=3), (1, 12, 12, 12), batch=batch)
    assert found.latency_batch == latency_batch
    assert found.flops == 2 * 12**3 * 6 * 27 + 2 * 6**3 * 6 * 6 * 27 + 2 * 6 * 3
    # What one volume needs cannot be told by a network that takes no single one.
    assert (found.peak_memory_mib is not None) is one


def test_memory_that_runs_out_makes_the_batch_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Classifier.forward

    def hungry(self: Classifier, volumes: Tensor) -> Tensor:
        if len(volumes) > 2:
            raise torch.OutOfMemoryError("told to fail")
        return forward(self, volumes)

    monkeypatch.setattr(Classifier, "forward", hungry)
    found = costs.measure(Classifier(samples.tiny(3), num_classes=3), (1, 12, 12, 12))
    assert found.latency_batch == 2


def test_a_network_that_takes_nothing_is_refused_with_the_reason() -> None:
    classifier = Classifier(hostile.KINDS["exits_in_evaluation"](3, 1, 6), num_classes=3)
    with pytest.raises(CellError, match="tried to leave with SystemExit: 3"):
        costs.measure(classifier, (1, 12, 12, 12))


def test_the_network_does_not_write_to_what_later_passes_are_given() -> None:
    classifier = Classifier(hostile.KINDS["writes_to_its_input"](3, 1, 6), num_classes=3)
    assert costs.measure(classifier, (1, 12, 12, 12)).latency_batch == 8


def test_operations_are_counted_where_the_meta_device_does_not_do() -> None:
    def flops(name: str) -> int:
        model = ModelKey(name=name, factory=name)
        return costs.flops_of(model, num_classes=3, shape=(1, 12, 12, 12))

    plain = flops("tests.samples:tiny")
    assert flops("tests.hostile:looks_at_values") == plain
    assert flops("tests.hostile:never_alone") == plain
    with pytest.raises(CellError, match=r"cannot be counted: .* AttributeError: told to fail"):
        flops("tests.hostile:raises")
