"""What the sparse attacks share: few voxels take any intensity, and the rest stay as they are.

On binary shape masks these are the realistic threat: single flipped voxels, a local fault or
tampering. A threshold at 0.5 undoes every L∞ perturbation below 0.5 there.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.boxes import box_mask, box_sums
from benchharness.attacks.core.objectives import (
    NOT_CROSS_ENTROPY,
    Evaluation,
    Worst,
    evaluate,
    margin,
)
from benchharness.attacks.core.observation import zero_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from benchharness.attacks.core.objectives import Objective


def extremes(clean: Tensor, gradient: Tensor) -> Tensor:
    """The end of [0, 1] that raises the objective; the clean value where the gradient is zero."""
    return torch.where(gradient > 0, 1.0, torch.where(gradient < 0, 0.0, clean))


def gains(clean: Tensor, gradient: Tensor, ends: Tensor) -> Tensor:
    """First-order gain of taking each voxel to its extreme, summed over channels, (B, D, H, W)."""
    return (gradient * (ends - clean)).sum(1)


def offer_last(worst: Worst, batch: Batch, point: Tensor) -> None:
    """Offer a point without taking a gradient there."""
    with torch.no_grad():
        logits = batch.classifier(point).float()
    worst.offer(point, margin(logits, batch.labels), logits.argmax(1) != batch.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Attack):
    """Rewrite one region of the volume, at the places of largest first-order gain."""

    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY

    candidates: int = parameter(3, low=1)
    """Places tried for each volume."""
    steps: int = parameter(10, low=1)
    """Gradient steps at each place, of length 2.5 / steps."""

    @abstractmethod
    def windows(self, side: int, grid: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """The sizes (d, h, w) that a region may have, for a severity `side`."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for the clean volume and for every step at every place.

        Each place takes one more forward pass, for its last point.
        """
        places = self.candidates
        return Cost(forward=1 + places * (self.steps + 1), backward=1 + places * self.steps)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step at every place, and one at the clean volume."""
        return 1 + self.candidates * self.steps

    def perturb(self, batch: Batch) -> Tensor:
        """Choose places by the gradient at the clean volume, then climb within each."""
        first = evaluate(batch.classifier, batch.volumes, batch.labels, margin)
        worst = Worst(batch.volumes)
        worst.offer(batch.volumes, first.values, first.broken)
        for mask in self._places(batch, first):
            self._fill(batch, first, mask, worst)
        iterations = self.planned_iterations(batch.classifier.num_classes)
        batch.findings.update(
            zero_gradient=zero_gradient(first.gradient),
            iterations=torch.full_like(batch.labels, iterations),
        )
        return worst.volumes

    def _fill(self, batch: Batch, first: Evaluation, mask: Tensor, worst: Worst) -> None:
        """Start at the extremes that the first gradient points to, and take sign steps."""
        clean = batch.volumes
        point = torch.where(mask, extremes(clean, first.gradient), clean)
        for _ in range(self.steps):
            found = evaluate(batch.classifier, point, batch.labels, margin)
            worst.offer(point, found.values, found.broken)
            ahead = (point + 2.5 / self.steps * found.gradient.sign()).clamp(0, 1)
            point = torch.where(mask, ahead, clean)
        offer_last(worst, batch, point)

    def _places(self, batch: Batch, first: Evaluation) -> Iterator[Tensor]:
        """Masks of the regions of largest gain, bool (B, 1, D, H, W), best first.

        Regions may overlap. Where fewer than `candidates` fit, the last one is tried again.
        """
        ends = extremes(batch.volumes, first.gradient)
        gain = gains(batch.volumes, first.gradient, ends)[:, None]
        depth, height, width = gain.shape[2:]
        windows = self.windows(int(batch.severity), (depth, height, width))
        sums = [box_sums(gain, window) for window in windows]
        scores = torch.cat([values.flatten(1) for values in sums], dim=1)
        ranked = scores.argsort(dim=1, descending=True, stable=True)
        for number in range(self.candidates):
            chosen = ranked[:, min(number, ranked.shape[1] - 1)]
            mask = torch.zeros_like(gain, dtype=torch.bool)
            before = 0
            for window, values in zip(windows, sums, strict=True):
                index = chosen - before
                before += values[0].numel()
                here = ((index >= 0) & (index < values[0].numel())).nonzero()[:, 0]
                corners = torch.stack(
                    torch.unravel_index(index[here], tuple(values.shape[2:])), dim=1
                )
                mask[here] = box_mask(corners, window, (depth, height, width))
            yield mask
