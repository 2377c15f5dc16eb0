"""DeepFool: steps over the nearest linearised decision boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Cost
from benchharness.attacks.core.hyperplanes import boundaries, to_hyperplane
from benchharness.attacks.core.minimum_norm import MinimumNorm, Nearest
from benchharness.attacks.core.norms import L2_RMS
from benchharness.attacks.core.objectives import choose

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(MinimumNorm):
    """DeepFool: repeated steps to the nearest linearised boundary, never looking back."""

    name: ClassVar[str] = "deepfool"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = (
        "Moosavi-Dezfooli, Fawzi & Frossard, CVPR 2016, arXiv 1511.04599; own implementation"
    )
    summary: ClassVar[str] = (
        "Steps over the nearest linearised boundary until the class changes; minimal L2 norm."
    )

    steps: int = parameter(50, low=1)
    """Most steps."""
    overshoot: float = parameter(0.02, low=0.0)
    """How far a step goes beyond the boundary, as a share of its length."""

    def cost(self, num_classes: int) -> Cost:
        """A forward pass and a backward pass for every boundary, at every step."""
        step = Cost(forward=1, backward=num_classes - 1)
        return step * self.steps + Cost(forward=3 + self.refinements, backward=0)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Step to the nearest boundary, by the smallest step within [0, 1], until misclassified."""
        point, first = nearest.clean, None
        for _ in range(self.steps):
            found, broken = boundaries(classifier, point, labels, None)
            nearest.offer(point, broken)
            difference, gradient = found.nearest(L2_RMS)
            first = gradient if first is None else first
            if broken.all():
                return first
            # A hair beyond the boundary: exactly on it, rounding would decide the class.
            step = to_hyperplane(point, gradient, 1e-6 - difference, L2_RMS)
            ahead = (point + (1 + self.overshoot) * step).clamp(0, 1)
            point = choose(broken, point, ahead)
        with torch.no_grad():
            nearest.offer(point, classifier(point).argmax(1) != labels)
        assert first is not None
        return first
