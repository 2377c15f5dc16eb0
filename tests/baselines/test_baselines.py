"""The contract of the baseline networks, and the facts that identify each of them."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from baselines._monai import monai_networks
from baselines.densenet import densenet3d_121
from baselines.resnet import (
    medmnist_resnet3d_18,
    medmnist_resnet3d_50,
    resnet3d_18,
    resnet3d_34,
    resnet3d_50,
)
from tests import normalisations

if TYPE_CHECKING:
    from collections.abc import Callable

    Factory = Callable[..., nn.Module]

# For two classes and one channel; the MedMNIST ones are the 33.1 M and 46.1 M of its authors.
PARAMETERS: dict[Factory, int] = {
    resnet3d_18: 33_161_026,
    resnet3d_34: 63_470_658,
    resnet3d_50: 46_159_170,
    medmnist_resnet3d_18: 33_140_802,
    medmnist_resnet3d_50: 46_138_946,
    densenet3d_121: 11_244_674,
}
FACTORIES = tuple(PARAMETERS)


def _name(factory: Factory) -> str:
    return factory.__name__


@pytest.mark.parametrize("factory", FACTORIES, ids=_name)
def test_parameter_count(factory: Factory) -> None:
    with torch.device("meta"):
        network = factory(2)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[factory]


@pytest.mark.parametrize("shape", [(1, 16, 16), (16, 16, 16)], ids=str)
@pytest.mark.parametrize("factory", FACTORIES, ids=_name)
def test_logits_in_train_and_eval_mode(factory: Factory, shape: tuple[int, int, int]) -> None:
    network = factory(3, in_channels=2)
    volumes = torch.rand(2, 2, *shape)
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            logits = network(volumes)
        assert logits.shape == (2, 3)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()
        assert not torch.allclose(logits.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("factory", FACTORIES, ids=_name)
@pytest.mark.parametrize("side", [28, 128])
def test_sizes_of_real_volumes(factory: Factory, side: int) -> None:
    with torch.device("meta"):
        network = factory(2).eval()
        assert network(torch.empty(1, 1, side, side, side)).shape == (1, 2)


@pytest.mark.parametrize("factory", FACTORIES, ids=_name)
def test_gradcam_layer_is_the_last_stage_with_space_left(factory: Factory) -> None:
    shapes: list[torch.Size] = []
    with torch.device("meta"):
        network = factory(2).eval()
        stage = network.get_submodule(str(network.gradcam_layer))
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape))
        network(torch.empty(1, 1, 28, 28, 28))
    (shape,) = shapes
    assert shape[0] == 1
    assert shape[2:] == (4, 4, 4)


@pytest.mark.parametrize("factory", [medmnist_resnet3d_18, medmnist_resnet3d_50], ids=_name)
def test_medmnist_stem_keeps_the_resolution(factory: Factory) -> None:
    with torch.device("meta"):
        network = factory(2).eval()
        stem = network.get_submodule("conv1")(torch.empty(1, 1, 28, 28, 28))
    assert stem.shape[2:] == (28, 28, 28)
    assert network.no_max_pool


def test_densenet_equals_stock_monai_where_every_pool_sees_even_axes() -> None:
    """On 32 voxels the pools see 8, 4 and 2: rounding up must change nothing."""
    network = densenet3d_121(2).eval()
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        ours = network(volume)
        for transition in ("transition1", "transition2", "transition3"):
            network.get_submodule(f"features.{transition}").pool = nn.AvgPool3d(2, 2)
        assert torch.equal(network(volume), ours)


@pytest.mark.parametrize("factory", FACTORIES, ids=_name)
def test_impossible_counts_are_refused(factory: Factory) -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0; give the label"):
        factory(0)
    with pytest.raises(ValueError, match="in_channels must be at least 1, got -1; grey volumes"):
        factory(2, in_channels=-1)


def test_importing_the_baselines_leaves_torchvision_out() -> None:
    code = (
        "import sys, baselines.resnet, baselines.densenet; "
        "baselines.resnet.resnet3d_18(2); "
        "print([name for name in sys.modules if name.split('.')[0] == 'torchvision'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_torchvision_already_loaded_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", loaded)
    monai_networks("resnet")
    assert sys.modules["torchvision"] is loaded


def test_the_block_ends_with_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_network"):
        monai_networks("no_such_network")
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("factory", [resnet3d_18, resnet3d_50], ids=_name)
def test_a_folded_residual_network_answers_as_the_whole_one(factory: Factory) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = factory(3)
        normalisations.randomise(network)
    network.eval()
    folded = network.folded()
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm3d)]
    volumes = torch.rand(2, 1, 16, 16, 16)
    torch.testing.assert_close(folded(volumes), network(volumes), rtol=1e-4, atol=1e-4)
    assert any(isinstance(m, nn.BatchNorm3d) for m in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
