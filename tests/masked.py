"""Networks that hide their gradient, each in a way that has fooled a paper; weights of `Tiny`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tests.attacks.attack_networks import Tiny

if TYPE_CHECKING:
    from torch import Tensor, nn


class _SoftmaxHead(Tiny):
    """Probabilities for logits, in eval mode."""

    def forward(self, volumes: Tensor) -> Tensor:
        logits = super().forward(volumes)
        return logits if self.training else logits.softmax(1)


class _QuantisedInput(Tiny):
    """Rounds intensities to 256 levels, which has no gradient."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward((volumes * 255).round() / 255)


class _NoisyForward(Tiny):
    """Adds noise of its own at every pass."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes + 0.05 * torch.randn_like(volumes))


class _HugeLogits(Tiny):
    """Scales logits until the cross-entropy is 0 to the last bit."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes) * 1e4


class _DetachedBranch(Tiny):
    """Decides by a branch that no gradient reaches; a faint other one leads elsewhere."""

    def forward(self, volumes: Tensor) -> Tensor:
        decides = super().forward(volumes.detach())
        leads = volumes.flatten(1)[:, :1] * 1e-4
        return decides + leads * torch.arange(decides.shape[1])


def honest(num_classes: int, in_channels: int = 1) -> nn.Module:
    return Tiny(num_classes, in_channels)


def other(num_classes: int, in_channels: int = 1) -> nn.Module:
    """A second name for the same network."""
    return Tiny(num_classes, in_channels)


def softmax_head(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _SoftmaxHead(num_classes, in_channels)


def quantised_input(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _QuantisedInput(num_classes, in_channels)


def noisy_forward(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _NoisyForward(num_classes, in_channels)


def huge_logits(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _HugeLogits(num_classes, in_channels)


def detached_branch(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _DetachedBranch(num_classes, in_channels)
