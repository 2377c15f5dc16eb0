"""Carlini and Wagner's attack: the smallest perturbation by descent on its size and the margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Cost
from benchharness.attacks.core.minimum_norm import MinimumNorm, Nearest
from benchharness.attacks.core.objectives import choose, evaluate, margin

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class CarliniWagner(MinimumNorm):
    """Carlini and Wagner's L2 attack, kept in [0, 1] by projection.

    The original writes a volume as (tanh w + 1) / 2, whose derivative is zero at exactly 0 and 1:
    no voxel of a binary mask would ever move. Here Adam optimises the perturbation itself, which is
    clipped to [0, 1] after each step, so every voxel can move.
    """

    name: ClassVar[str] = "cw"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = (
        "Carlini & Wagner, S&P 2017, arXiv 1608.04644, projected instead of tanh; "
        "own implementation"
    )
    summary: ClassVar[str] = (
        "Minimises the squared L2 norm plus c times the margin, c searched; minimal L2 norm."
    )

    steps: int = parameter(100, low=1)
    """Steps of Adam for each c."""
    search_steps: int = parameter(6, low=1)
    """Values of c tried for each volume."""
    initial_c: float = parameter(1.0, low=1e-6)
    """First weight of the margin, against the mean square of the perturbation."""
    learning_rate: float = parameter(0.01, low=1e-6)
    """Adam's learning rate, which falls to zero along a cosine."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every step of every c."""
        steps = self.steps * self.search_steps
        return Cost(forward=steps + 2 + self.refinements, backward=steps)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Change c tenfold until it is bracketed, then bisect on a logarithmic scale."""
        weight = torch.full((len(labels),), self.initial_c, device=labels.device)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        first: Tensor | None = None
        for _ in range(self.search_steps):
            gradient, success = self._optimise(classifier, nearest, labels, weight)
            first = gradient if first is None else first
            low, high = torch.where(success, low, weight), torch.where(success, weight, high)
            between = (low * high).sqrt()
            weight = torch.where(low == 0, high / 10, torch.where(high.isinf(), low * 10, between))
        assert first is not None
        return first

    def _optimise(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Minimise mean(δ²) + c·max(z_y − max z_j, 0) from δ = 0.

        Returns:
            The first gradient, and which volumes broke on the way, bool (B,).
        """
        clean = nearest.clean
        voxels = clean[0].numel()
        delta = torch.zeros_like(clean)
        optimiser = torch.optim.Adam([delta], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        success = torch.zeros_like(labels, dtype=torch.bool)
        first: Tensor | None = None
        for _ in range(self.steps):
            found = evaluate(classifier, clean + delta, labels, margin)
            first = found.gradient if first is None else first
            broken = found.broken
            nearest.offer(clean + delta, broken)
            success |= broken
            pull = weight.view(-1, 1, 1, 1, 1) * found.gradient
            # Scaled by the number of voxels: the minimum stays, and Adam's epsilon plays no part.
            delta.grad = 2 * delta - voxels * choose(broken, torch.zeros_like(pull), pull)
            optimiser.step()
            schedule.step()
            delta.copy_((clean + delta).clamp(0, 1) - clean)
        assert first is not None
        return first, success
