"""Volumes with the depth folded into the channels, as torchattacks' image attacks take them.

Several of its attacks reduce over `dim=(1, 2, 3)`, which is wrong on (B, C, D, H, W). Folding to
(B, C·D, H, W) leaves L∞ and L2 balls as they are, so that those attacks can serve as oracles.
"""

from __future__ import annotations

from torch import Tensor, nn


def folded(volumes: Tensor) -> Tensor:
    """(B, C, D, H, W) as (B, C·D, H, W)."""
    return volumes.flatten(1, 2)


class Folded(nn.Module):
    """A model of volumes (B, C, D, H, W) as a model of their folded form."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.view(-1, *self.shape))
