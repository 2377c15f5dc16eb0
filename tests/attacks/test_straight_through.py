"""Gradients of what a network computes, where its own backward pass is cut, replaced or flat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional as F

from benchharness import registry
from benchharness.attacks.core.straight_through import straight_through
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import Linear, NoWayBack

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Front = Callable[[Tensor], Tensor]

SHAPE = (3, 1, 4, 4, 4)
INNER = Linear(64, 3).requires_grad_(requires_grad=False)


class Flipped(torch.autograd.Function):
    """The identity, whose backward lies about every other slice."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        wrong = gradients[0].clone()
        wrong[:, :, ::2] *= -1
        return wrong


def hooked(volumes: Tensor) -> Tensor:
    volumes = volumes * 1.0
    if volumes.requires_grad:
        volumes.register_hook(lambda gradient: -gradient)  # type: ignore[no-untyped-call]
    return volumes


def hooked_anyway(volumes: Tensor) -> Tensor:
    volumes = (volumes * 1.0).requires_grad_()
    volumes.register_hook(lambda gradient: -gradient)  # type: ignore[no-untyped-call]
    return volumes


def without_grad(volumes: Tensor) -> Tensor:
    with torch.no_grad():
        return volumes * 1.0


def in_inference(volumes: Tensor) -> Tensor:
    with torch.inference_mode():
        return volumes * 1.0


def in_place(volumes: Tensor) -> Tensor:
    written = torch.zeros_like(volumes)
    written[:, :, :2] = volumes[:, :, :2].detach()
    written[:, :, 2:].copy_(volumes[:, :, 2:])
    written.mul_(2)
    written *= 0.5
    return written.data


def indexed(volumes: Tensor) -> Tensor:
    written = torch.zeros_like(volumes)
    chosen = volumes > 0.1
    written[chosen] = volumes[chosen]
    return written


EXACT: dict[str, Front] = {
    "nothing": lambda volumes: volumes,
    "detach": lambda volumes: volumes.detach(),
    "data": lambda volumes: volumes.data,
    "no_grad": without_grad,
    "inference_mode": in_inference,
    "a backward that lies": Flipped.apply,
    "a backward that raises": NoWayBack.apply,
    "a hook": hooked,
    "a hook on what it turns into a leaf": hooked_anyway,
    "in place": in_place,
    "rounding": lambda volumes: (volumes * 255).round() / 255,
    "floor": lambda volumes: torch.floor(volumes * 255) / 255,
    "integers": lambda volumes: (volumes * 255).to(torch.uint8).float() / 255,
    "clipping": lambda volumes: volumes.clamp(0.4, 0.6),
    "stopped where it detects": lambda v: 1 - v if v.requires_grad else v,
}
"""Ways in front of a linear network: its gradient is known."""


def gradient(network: Front) -> tuple[Tensor, Tensor]:
    volumes = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = straight_through(network, volumes)
    with torch.no_grad():
        assert torch.equal(logits, network(volumes.detach()))
    return logits, torch.autograd.grad(logits[:, 0].sum(), volumes)[0]


@pytest.mark.parametrize("way", EXACT)
def test_the_gradient_is_that_of_what_is_computed(way: str) -> None:
    _, found = gradient(lambda volumes: INNER(EXACT[way](volumes)))
    expected = INNER.weight[0].view(1, *SHAPE[1:]).expand(SHAPE)
    torch.testing.assert_close(found, expected)


FLAT: dict[str, Front] = {
    "a threshold": lambda volumes: INNER((volumes > 0.5).float()),
    "a threshold among others": lambda volumes: INNER(torch.where(volumes >= 0.5, 0.9, 0.1)),
    "a falling threshold": lambda volumes: INNER(-1.0 * (volumes < 0.5)),
    "signs": lambda volumes: INNER(torch.sign(volumes - 0.5)),
    "probabilities": lambda volumes: (INNER(volumes) * 1e3).softmax(1),
    "a sigmoid": lambda volumes: torch.sigmoid(INNER(volumes) * 1e3),
    "a half-precision softmax": lambda v: F.softmax((INNER(v) * 100).half(), dim=1).float(),
}
"""Networks whose gradient is zero almost everywhere; their first logit rises with `INNER`'s."""


@pytest.mark.parametrize("network", FLAT)
def test_a_flat_network_gets_a_gradient_that_leads_uphill(network: str) -> None:
    _, found = gradient(FLAT[network])
    assert (found != 0).flatten(1).any(1).all()
    weights = INNER.weight[0] if "threshold" in network or network == "signs" else None
    if weights is not None:
        agree = (found.flatten(1).sign() * weights.sign()).mean(1)
        assert (agree > 0.5).all()


def test_masks_and_indices_keep_working() -> None:
    _, found = gradient(lambda volumes: INNER(indexed(volumes)))
    assert (found != 0).float().mean() > 0.8


@pytest.mark.parametrize("name", ["medvit3d_n", "resnet3d_18", "densenet3d_121"])
def test_the_copy_of_an_accelerated_network_has_the_gradient_of_the_network(name: str) -> None:
    """Its kernels are faster than torch's own, and bring backward passes of their own."""
    torch.manual_seed(0)
    network = Classifier(registry.load("models", name)(4).eval(), num_classes=4).for_evaluation()
    volumes = torch.rand(8, 1, 28, 28, 28).requires_grad_()
    with network.frozen():
        logits = straight_through(network, volumes)
        own = network(volumes)
    assert torch.equal(logits, own)
    found, expected = (
        torch.autograd.grad(values[:, 0].sum(), volumes)[0] for values in (logits, own)
    )
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_what_leaves_torch_is_not_followed() -> None:
    volumes = torch.rand(SHAPE).requires_grad_()
    logits = straight_through(lambda v: INNER(torch.from_numpy(v.detach().numpy().copy())), volumes)
    assert not logits.requires_grad
