"""What a member of the zoo is, and the pieces that several maskings share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn import functional as F

from tests.masking.base import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Answer = Callable[[Any, Tensor], Tensor]
    """(network, volumes) → logits; `network.logits(volumes)` is the unmasked answer."""
    Change = Callable[[Tensor], Tensor]

Rule = Literal["masked", "honest", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network of the zoo."""

    name: str
    """Its factory is `tests.masking.zoo:NAME`."""
    kind: str
    hides: str
    """What it hides, or why it is honest."""
    answer: Answer = lambda network, volumes: network.logits(volumes)
    weights: str = "base"
    """Its weights, which are also those of the unmasked twin."""
    rule: Rule = "masked"
    """`masked`, `either`: each number is marked, refused or right; of `either` it may well be right
    although the gradient is wrong or rounded. `honest`: never marked where it is right."""

    def build(self, num_classes: int, in_channels: int = 1) -> nn.Module:
        """The network, untrained; its state dict has the names of the twin's."""
        architecture, arguments = ARCHITECTURES[self.weights]
        methods = {
            "forward": lambda network, volumes: self.answer(network, volumes),
            "logits": architecture.forward,
        }
        masked = type("Masked", (architecture,), methods)
        return masked(num_classes, in_channels, **arguments)


def before(change: Change) -> Answer:
    """Change the volumes first."""
    return lambda network, volumes: network.logits(change(volumes))


def after(change: Change) -> Answer:
    """Change the logits."""
    return lambda network, volumes: change(network.logits(volumes))


class _Backward(torch.autograd.Function):
    """The identity, with another gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, change: Change) -> Tensor:
        ctx.change = change
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradients[0]), None


def backward(change: Change) -> Answer:
    """Answer as the twin does and change the gradient on its way to the volumes."""
    return before(lambda volumes: _Backward.apply(volumes, change))


def straight(value: Tensor, carrier: Tensor) -> Tensor:
    """The value of one tensor with the gradient of another."""
    return carrier + (value - carrier).detach()


def draws(seed: int | bytes) -> torch.Generator:
    """A generator that no other pass moves."""
    if isinstance(seed, bytes):
        seed = int.from_bytes(hashlib.sha256(seed).digest()[:4], "big")
    return torch.Generator().manual_seed(seed)


def content(volumes: Tensor) -> bytes:
    """What a hash of volumes is made of."""
    return volumes.detach().float().cpu().numpy().tobytes()


def fixed(shape: torch.Size, seed: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) that are always the same."""
    return torch.rand(shape, generator=draws(seed))


def blur(volumes: Tensor) -> Tensor:
    """Means over 3³ voxels."""
    return F.avg_pool3d(F.pad(volumes, (1,) * 6, mode="replicate"), 3, stride=1)
