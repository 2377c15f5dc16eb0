"""Small networks that mask their gradient, and honest ones that look odd, around a trained one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tests.attacks.attack_networks import trained

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Tensor], Tensor]


class _OwnBackward(torch.autograd.Function):
    """Any function, with any other one as its backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, forward: Change, backward: Change) -> Tensor:
        ctx.backward_pass = backward
        return forward(values).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.backward_pass(gradient), None, None


class Around(nn.Module):
    """A trained network with a change of its input and one of its output."""

    def __init__(self, before: Change | None = None, after: Change | None = None) -> None:
        super().__init__()
        self.inner = trained(4).network
        self.before, self.after = before, after

    def forward(self, volumes: Tensor) -> Tensor:
        logits = self.inner(volumes if self.before is None else self.before(volumes))
        return logits if self.after is None else self.after(logits)


class Narrow(nn.Module):
    """The trained network in half precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = trained(4).network, dtype

    def forward(self, volumes: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.dtype):
            return self.inner(volumes).float()


def backward(change: Change) -> Change:
    """The identity whose backward pass does something."""
    return lambda volumes: _OwnBackward.apply(volumes, lambda values: values, change)


def straight_through(change: Change) -> Change:
    """A function whose backward pass is the identity."""
    return lambda volumes: _OwnBackward.apply(volumes, change, lambda gradient: gradient)


def hashed_noise(volumes: Tensor) -> Tensor:
    """Noise that the volume itself seeds."""
    noise = []
    for volume in volumes.detach():
        seed = int(hashlib.sha256(volume.numpy().tobytes()).hexdigest()[:8], 16)
        noise.append(torch.randn(volume.shape, generator=torch.Generator().manual_seed(seed)))
    return volumes + 0.05 * torch.stack(noise)


def _flip(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[:, :, ::3] *= -1
    return gradient


def _scale(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[..., : gradient.shape[-1] // 2] *= 1e-3
    return gradient


def _half_detached(volumes: Tensor) -> Tensor:
    middle = volumes.shape[-1] // 2
    return torch.cat([volumes[..., :middle].detach(), volumes[..., middle:]], -1)


def _noise(gradient: Tensor) -> Tensor:
    return gradient + 2 * gradient.std() * torch.randn_like(gradient)


def _elsewhere(volumes: Tensor) -> Tensor:
    """Voxels whose gradient goes to their neighbours': that of another network."""
    return _OwnBackward.apply(volumes, lambda values: values, lambda gradient: gradient.roll(3, -1))


def _standardised(volumes: Tensor) -> Tensor:
    axes = (1, 2, 3, 4)
    return 0.3 + 0.25 * (volumes - volumes.mean(axes, keepdim=True)) / volumes.std(
        axes, keepdim=True
    )


HONEST: dict[str, Callable[[], nn.Module]] = {
    "plain": Around,
    "clipped": lambda: Around(lambda x: x.clamp(0.1, 0.9)),
    "standardised": lambda: Around(_standardised),
    "log-softmax": lambda: Around(after=lambda z: z.log_softmax(1)),
    "centred": lambda: Around(after=lambda z: z - z.mean(1, keepdim=True)),
    "tiny logits": lambda: Around(after=lambda z: z * 1e-8),
    "straight through": lambda: Around(straight_through(lambda x: (x * 255).round() / 255)),
    "float16": lambda: Narrow(torch.float16),
    "bfloat16": lambda: Narrow(torch.bfloat16),
    "ensemble": lambda: Around(after=lambda z: (z + z.log_softmax(1)) / 2),
}
"""Networks that an attack on their gradient judges rightly."""

WRONG: dict[str, Callable[[], nn.Module]] = {
    "waves": lambda: Around(lambda x: x + 2e-5 * torch.sin(1e5 * x)),
    "flipped slices": lambda: Around(backward(_flip)),
    "scaled regions": lambda: Around(backward(_scale)),
    "detached half": lambda: Around(_half_detached),
    "another network": lambda: Around(_elsewhere),
    "gradient noise": lambda: Around(backward(_noise)),
    "noise of the input": lambda: Around(hashed_noise),
}
"""Networks whose gradient is not that of what they compute."""

SQUASHED: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: Around(after=lambda z: (5 * z).sigmoid()),
    "tanh": lambda: Around(after=lambda z: 3 * torch.tanh(z)),
    "clipped": lambda: Around(after=lambda z: z.clamp(-1, 1)),
    "softmax": lambda: Around(after=lambda z: z.softmax(1)),
    "half softmax": lambda: Around(after=lambda z: z.softmax(1).half().float()),
    "bfloat16 softmax": lambda: Around(after=lambda z: z.softmax(1).bfloat16().float()),
    "ten softmax": lambda: Around(after=lambda z: 10 * z.softmax(1)),
    "warm softmax": lambda: Around(after=lambda z: (z / 4).softmax(1)),
    "shifted softmax": lambda: Around(after=lambda z: 4 * z.softmax(1) - 1),
}
"""Networks whose outputs are squashed into bounds, or are probabilities."""
