"""Networks whose BatchNorm normalises each volume by its own statistics.

This is instance normalisation (Ulyanov, Vedaldi & Lempitsky, arXiv 1607.08022) in place of every
`BatchNorm3d`, with its scale and shift: y = γ (x − μ) / √(σ² + ε) + β, where μ and σ² are those of
one channel of one volume over its voxels, in training and in evaluation alike. What a scanner does
to gain and offset of a volume is gone after the first such layer. A map of fewer than 8 voxels a
channel (2³) has no statistics worth the name: there the layer stays a BatchNorm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional as F

from benchharness import registry
from benchharness.networks.calling import call

if TYPE_CHECKING:
    from torch import Tensor

FACTORY = f"{__name__}:build"
_FEWEST = 8


class PerVolumeNorm(nn.Module):
    """A BatchNorm that normalises each volume by itself.

    Args:
        usual: The layer in whose place it is; its scale and shift are used.
    """

    def __init__(self, usual: nn.BatchNorm3d) -> None:
        super().__init__()
        self.usual = usual

    def forward(self, maps: Tensor) -> Tensor:
        """From maps (B, C, D, H, W) to normalised ones."""
        usual = self.usual
        if maps[0, 0].numel() < _FEWEST:
            found: Tensor = usual(maps)
            return found
        return F.instance_norm(maps, weight=usual.weight, bias=usual.bias, eps=usual.eps)


def build(num_classes: int, in_channels: int = 1, *, network: str, **arguments: Any) -> nn.Module:
    """The network of another factory with its BatchNorms replaced.

    Args:
        num_classes: Number of logits.
        in_channels: Channels of a volume.
        network: Import string of the factory.
        arguments: Its own.

    Raises:
        ValueError: When the network has no `BatchNorm3d`.
    """
    factory = registry.import_target(network)
    positional, named = call(factory, num_classes, in_channels, arguments)
    made: nn.Module = factory(*positional, **named)
    layers = [(m, n, c) for m in made.modules() for n, c in m.named_children()]
    found = [(m, n, c) for m, n, c in layers if isinstance(c, nn.BatchNorm3d)]
    if not found:
        raise ValueError(f"instance_norm replaces BatchNorm3d, and {type(made).__name__} has none")
    for parent, name, child in found:
        setattr(parent, name, PerVolumeNorm(child))
    if callable(getattr(made, "folded", None)):
        # Its faster copy would fold statistics into convolutions that no volume has in common.
        made.folded = None  # type: ignore[assignment]
    return made
