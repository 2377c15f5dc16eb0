"""A folded network answers as the whole one does, forwards and backwards, and leaves it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from medvit3d import frozen, variants
from medvit3d.folding import fold_batch_norms
from tests import normalisations

if TYPE_CHECKING:
    from medvit3d.blocks import SpatialReduction

TINY = {"medvit3d_n": (1, 20, 20, 20), "medvit3d_cbam": (3, 16, 18, 20)}


def with_statistics(name: str, **options: object) -> nn.Module:
    """A network whose normalisations do something, as after training."""
    channels = TINY[name][0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(variants, name)(3, channels, **options)
        normalisations.randomise(network)
    return network.eval()


def answers(network: nn.Module, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of a function of them that treats classes differently."""
    point = volumes.clone().requires_grad_()
    logits = network(point)
    weights = torch.arange(logits.shape[1]).cos()
    (gradient,) = torch.autograd.grad((logits * weights).sum(), point)
    return logits.detach(), gradient


def assert_equal_answers(network: nn.Module, volumes: torch.Tensor) -> None:
    """The folded network's logits and input gradients are those of the whole one."""
    # In double precision no rectifier's sign is a matter of rounding.
    network, volumes = network.double(), volumes.double()
    logits, gradient = answers(network, volumes)
    folded_logits, folded_gradient = answers(network.folded(), volumes)
    torch.testing.assert_close(folded_logits, logits, rtol=1e-9, atol=1e-9)
    scale = gradient.abs().max()
    torch.testing.assert_close(folded_gradient / scale, gradient / scale, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", TINY)
def test_logits_and_gradients_are_the_same(name: str) -> None:
    assert_equal_answers(with_statistics(name), torch.rand(3, *TINY[name]))


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 28, 28, 28),
        (2, 1, 1, 28, 28),
        (2, 1, 33, 17, 40),
    ],
    ids=["one volume", "one slice", "no cube"],
)
def test_answers_are_the_same_for_any_grid(shape: tuple[int, ...]) -> None:
    assert_equal_answers(with_statistics("medvit3d_n"), torch.rand(shape))


@pytest.mark.parametrize("reduction", ["slice_sequence", "sequence"])
def test_keys_may_be_averaged_in_another_way(reduction: SpatialReduction) -> None:
    # The statistics of the default network fit: a reduction has no weights.
    network = with_statistics("medvit3d_n", spatial_reduction=reduction)
    assert_equal_answers(network, torch.rand(1, 1, 64, 64, 64))


def test_a_float32_network_agrees_to_rounding() -> None:
    network, volumes = with_statistics("medvit3d_n"), torch.rand(3, *TINY["medvit3d_n"])
    logits, gradient = answers(network, volumes)
    folded_logits, folded_gradient = answers(network.folded(), volumes)
    torch.testing.assert_close(folded_logits, logits, rtol=1e-4, atol=1e-4)
    scale = gradient.abs().max()
    torch.testing.assert_close(folded_gradient / scale, gradient / scale, rtol=1e-3, atol=1e-4)


def test_one_network_meets_several_grids() -> None:
    network = with_statistics("medvit3d_n")
    folded = network.folded()
    for side in (16, 28, 16, 40):
        volumes = torch.rand(2, 1, side, side, side)
        torch.testing.assert_close(folded(volumes), network(volumes), rtol=1e-4, atol=1e-4)


def test_frozen_blocks_want_folded_blocks_of_this_package() -> None:
    network = with_statistics("medvit3d_n")
    with pytest.raises(ValueError, match="fold the normalisations first"):
        frozen.frozen(network.stages[0][0])
    with pytest.raises(TypeError, match=r"a ConvBlock or a TransformerBlock.*got ReLU"):
        frozen.frozen(nn.ReLU())


@pytest.mark.parametrize("name", TINY)
def test_only_normalisations_before_a_residual_stay(name: str) -> None:
    network = with_statistics(name)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norms(network)
    left = [key for key, module in folded.named_modules() if isinstance(module, nn.BatchNorm3d)]
    kept = ("norm", "feed_forward_norm", "attention.key_norm")
    assert all(key.endswith(kept) for key in left)
    assert not [key for key in left if "embed" in key or "stem" in key or "expand" in key]
    assert len(left) < sum(isinstance(m, nn.BatchNorm3d) for m in network.modules()) / 2
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key])
    assert all(parameter.requires_grad for parameter in network.parameters())
