"""A folded network answers as the whole one does, forwards and backwards, and leaves it alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medvit3d import variants
from medvit3d.folding import fold_batch_norms

TINY = {"medvit3d_n": (1, 20, 20, 20), "medvit3d_cbam": (3, 16, 18, 20)}


def with_statistics(name: str) -> nn.Module:
    """A network whose normalisations do something, as after training."""
    channels = TINY[name][0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(variants, name)(3, channels)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("name", TINY)
def test_logits_and_gradients_are_the_same(name: str) -> None:
    network = with_statistics(name)
    folded = network.folded()
    volumes = torch.rand(3, *TINY[name])
    found = []
    for one in (network, folded):
        point = volumes.clone().requires_grad_()
        logits = one(point)
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), point)
        found.append((logits.detach(), gradient))
    (logits, gradient), (folded_logits, folded_gradient) = found
    torch.testing.assert_close(folded_logits, logits, rtol=1e-4, atol=1e-4)
    scale = gradient.abs().max()
    torch.testing.assert_close(folded_gradient / scale, gradient / scale, rtol=1e-3, atol=1e-4)


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


def test_a_flat_volume_meets_a_narrowed_kernel() -> None:
    network = with_statistics("medvit3d_n")
    volumes = torch.rand(2, 1, 1, 28, 28)
    torch.testing.assert_close(network.folded()(volumes), network(volumes), rtol=1e-4, atol=1e-4)
