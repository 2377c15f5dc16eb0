"""Networks are built from their seed alone, and a factory's refusal is explained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from benchharness.errors import BenchError, CellError
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


@pytest.mark.parametrize("target", ["json:loads", "builtins:dict", "math:pi"])
def test_what_is_no_factory(target: str) -> None:
    model = ModelKey(name="it", factory=target)
    with pytest.raises((BenchError, CellError), match="model 'it' cannot be built") as caught:
        building.build_network(model, num_classes=3, in_channels=1)
    assert "\n" not in str(caught.value)


def test_a_factory_that_refuses_its_arguments_is_quoted() -> None:
    model = replace(MODEL, arguments=(("width", "wide"),))
    with pytest.raises(CellError, match=r"^model 'tiny' cannot be built: TypeError: "):
        building.build_network(model, num_classes=3, in_channels=1)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("raises", "AttributeError: told to fail"),
        ("exits", "the code tried to leave with SystemExit: told to leave"),
        ("nothing", "its factory returned NoneType, expected a torch.nn.Module"),
    ],
)
def test_whatever_a_factory_does_is_its_models_failure(factory: str, reason: str) -> None:
    model = ModelKey(name="it", factory=f"tests.hostile:{factory}")
    place = Path.cwd()
    with pytest.raises(CellError) as caught:
        building.build_network(model, num_classes=3, in_channels=1)
    assert str(caught.value) == f"model 'it' cannot be built: {reason}"
    assert torch.get_default_dtype() == torch.float32
    assert Path.cwd() == place


def test_parameters_are_counted_where_the_meta_device_does_not_do() -> None:
    for factory in ("tests.samples:tiny", "tests.hostile:looks_at_values"):
        network = building.sketch(
            ModelKey(name="it", factory=factory), num_classes=2, in_channels=1
        )
        assert (
            sum(p.numel() for p in network.parameters())
            == (6 * 27 + 6) + 12 + (6 * 6 * 27 + 6) + 14
        )
