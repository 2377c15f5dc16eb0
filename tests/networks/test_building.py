"""Networks are built from their seed alone, and a factory's refusal is explained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from benchharness.errors import BenchError
from benchharness.networks import building
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from torch import Tensor

MODEL = ModelKey(name="tiny", factory="tests.samples:tiny")


def test_a_network_is_drawn_from_the_seed_alone() -> None:
    def build(seed: int | None) -> dict[str, Tensor]:
        network = building.build_network(MODEL, num_classes=3, in_channels=1, seed=seed)
        return network.state_dict()

    before = torch.get_rng_state()
    first = build(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    for again in (build(0), build(None)):
        assert again.keys() == first.keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    assert not torch.equal(build(1)["head.weight"], first["head.weight"])


def test_arguments_of_the_config_reach_the_factory() -> None:
    model = replace(MODEL, arguments=(("width", 4),))
    network = building.build_network(model, num_classes=3, in_channels=2)
    assert network.state_dict()["features.0.weight"].shape == (4, 2, 3, 3, 3)


def test_arguments_that_the_factory_does_not_take() -> None:
    model = replace(MODEL, arguments=(("depth", 4),))
    with pytest.raises(BenchError) as caught:
        building.check_arguments(model)
    assert str(caught.value) == (
        "model 'tiny' cannot be built with {'depth': 4}: got an unexpected keyword argument "
        "'depth'. A factory takes (num_classes, in_channels=1) and the arguments of its config "
        "table."
    )


def test_a_factory_of_another_signature() -> None:
    model = ModelKey(name="dumps", factory="json:loads")
    building.check_arguments(ModelKey(name="tiny", factory="tests.samples:tiny"))
    with pytest.raises(BenchError, match="model 'dumps' cannot be built"):
        building.build_network(model, num_classes=3, in_channels=1)


def test_a_factory_that_refuses_its_arguments_is_quoted() -> None:
    model = replace(MODEL, arguments=(("width", "wide"),))
    with pytest.raises(BenchError, match=r"^model 'tiny' cannot be built: "):
        building.build_network(model, num_classes=3, in_channels=1)
