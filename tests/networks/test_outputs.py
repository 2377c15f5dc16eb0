"""Outputs that saturate, or jump with the last bits of the input, are found out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchharness.networks import outputs
from benchharness.networks.classifier import Classifier
from benchharness.networks.outputs import SQUASHED, STEADY
from tests.attacks import maskings
from tests.attacks.attack_networks import task, tiny, trained

VOLUMES = task(40, 4, seed=5)[0]


def found(network: nn.Module) -> dict[str, tuple[str, float]]:
    checks = outputs.checks(Classifier(network, num_classes=4), VOLUMES)
    return {check.name: (check.verdict, check.value or 0.0) for check in checks}


@pytest.mark.parametrize("name", maskings.HONEST)
def test_honest_outputs_pass_with_a_margin(name: str) -> None:
    checks = found(maskings.HONEST[name]())
    assert checks[SQUASHED] == ("passed", 0.0)
    assert checks[STEADY][0] == "passed"
    assert checks[STEADY][1] < outputs.JUMP / 2


@pytest.mark.parametrize("name", maskings.SQUASHED)
def test_squashed_outputs_fail_with_a_margin(name: str) -> None:
    verdict, share = found(maskings.SQUASHED[name]())[SQUASHED]
    assert verdict == "failed"
    assert share > 2 * outputs.SATURATED


def test_noise_that_the_input_seeds_is_no_answer() -> None:
    verdict, jump = found(maskings.WRONG["noise of the input"]())[STEADY]
    assert verdict == "failed"
    assert jump > 2 * outputs.JUMP


@pytest.mark.parametrize("after", [None, torch.sigmoid, lambda z: z.relu()])
def test_an_untrained_network_is_not_accused(after: object) -> None:
    network = maskings.Around(after=after)  # type: ignore[arg-type]
    network.inner = tiny(4).network
    assert {verdict for verdict, _ in found(network).values()} == {"passed"}


def test_a_constant_network_is_not_accused() -> None:
    constant = maskings.Around(after=lambda z: z * 0 + torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert found(constant)[SQUASHED][0] == "passed"
    zero = maskings.Around(after=lambda z: z * 0)
    assert found(zero)[SQUASHED][0] == "not applicable"


def test_a_network_that_draws_is_judged_by_the_same_draws() -> None:
    noisy = maskings.Around(lambda x: x + 0.05 * torch.randn_like(x))
    assert {verdict for verdict, _ in found(noisy).values()} == {"passed"}


def test_a_network_that_raises_is_not_judged() -> None:
    class Raises(nn.Module):
        def forward(self, volumes: Tensor) -> Tensor:
            raise ValueError("not\ntoday")

    checks = outputs.checks(Classifier(Raises(), num_classes=4), VOLUMES)
    assert {check.verdict for check in checks} == {"not applicable"}
    assert "not today" in checks[0].reason


def test_the_network_and_the_generators_are_left_as_they_were() -> None:
    network = trained(4).network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state, volumes = torch.get_rng_state(), VOLUMES.clone()
    found(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(volumes, VOLUMES)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
