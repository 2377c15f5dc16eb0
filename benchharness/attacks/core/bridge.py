"""torchattacks 3.5.1 on volumes: how its attacks are called where they are right.

Its attacks are given the observed classifier without normalisation, so that they act on [0, 1]
volumes. Their draws are intercepted by the caller. Attacks that reduce over `dim=(1, 2, 3)` are
wrong on (B, C, D, H, W); they get the depth folded into the channels, which leaves L∞ and L2 balls
and everything that acts on voxels alike as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.base import Batch


def run(attack: Callable[..., Any], batch: Batch, *, fold: bool = False, **settings: Any) -> Tensor:
    """Run one of torchattacks' attacks on a batch.

    Args:
        attack: Its class.
        batch: What is attacked.
        fold: Whether it sees (B, C·D, H, W) instead of (B, C, D, H, W).
        settings: Arguments of its constructor.

    Returns:
        Adversarial volumes, (B, C, D, H, W).
    """
    shape = tuple(batch.volumes.shape[1:])
    model = Folded(batch.classifier, shape).eval() if fold else batch.classifier
    volumes = folded(batch.volumes) if fold else batch.volumes
    adversarial: Tensor = attack(model, **settings)(volumes, batch.labels)
    return adversarial.view(-1, *shape)


def folded(volumes: Tensor) -> Tensor:
    """(B, C, D, H, W) as (B, C·D, H, W)."""
    return volumes.flatten(1, 2)


class Folded(nn.Module):
    """A model of volumes as a model of their folded form.

    Args:
        model: Takes (B, C, D, H, W).
        shape: (C, D, H, W).
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of (B, C·D, H, W)."""
        logits: Tensor = self.model(images.view(-1, *self.shape))
        return logits
