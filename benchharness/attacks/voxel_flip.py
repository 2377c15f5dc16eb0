"""Voxel flips: the k voxels of largest first-order gain go to 0 or 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.objectives import NOT_CROSS_ENTROPY, Worst, evaluate, margin
from benchharness.attacks.core.observation import zero_gradient
from benchharness.attacks.core.sparse import extremes, gains, offer_last

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.objectives import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelFlip(Attack):
    """Flip the voxels of largest first-order gain, and choose anew by the gradient found there."""

    name: ClassVar[str] = "voxel_flip"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l0"
    source: ClassVar[str] = (
        "after the L0 projection of Croce & Hein, ICCV 2019, arXiv 1909.05040; own implementation"
    )
    summary: ClassVar[str] = (
        "Flips the k voxels of largest first-order gain of the margin, growing to k in rounds."
    )
    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY

    steps: int = parameter(10, low=1)
    """Rounds; round t flips ⌈k·t / steps⌉ voxels, chosen by the gradient at the round before."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every round, and a forward pass for the result of the last."""
        return Cost(forward=self.steps + 1, backward=self.steps)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every round."""
        return self.steps

    def perturb(self, batch: Batch) -> Tensor:
        """Keep the worst round; every round starts from the clean volume."""
        worst, point = Worst(batch.volumes), batch.volumes
        zero = torch.zeros_like(batch.labels)
        for number in range(1, self.steps + 1):
            found = evaluate(batch.classifier, point, batch.labels, margin)
            worst.offer(point, found.values, found.broken)
            if number == 1:
                zero = zero_gradient(found.gradient)
            count = -(-int(batch.severity) * number // self.steps)
            point = self._flipped(batch.volumes, found.gradient, count)
        offer_last(worst, batch, point)
        batch.findings.update(
            zero_gradient=zero, iterations=torch.full_like(batch.labels, self.steps)
        )
        return worst.volumes

    def _flipped(self, clean: Tensor, gradient: Tensor, count: int) -> Tensor:
        ends = extremes(clean, gradient)
        gain = gains(clean, gradient, ends).flatten(1)
        chosen = gain.topk(min(count, gain.shape[1]), dim=1).indices
        mask = torch.zeros_like(gain, dtype=torch.bool).scatter_(1, chosen, value=True)
        mask = mask.view(len(clean), 1, *clean.shape[2:])
        return torch.where(mask, ends, clean)
