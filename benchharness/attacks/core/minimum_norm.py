"""Attacks that look for the nearest volume of another class, whatever the budget.

At a budget ε a volume counts as broken if and only if the norm that it needed is at most ε;
otherwise it comes back clean. A broken volume is returned a little beyond the boundary. The norm
that each volume needed is stored with the predictions, as `minimal_norm`, and `found` says whether
there is one; a report draws their median and curve.

torchattacks' versions ignore ε. Its DeepFool loops over volumes one by one, its CW moves no voxel
at exactly 0 or 1, and its FAB may return its input; hence `deepfool`, `cw` and `fab`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch
from benchharness.attacks.core.norms import BUDGETS
from benchharness.attacks.core.objectives import choose, margin
from benchharness.attacks.core.observation import zero_gradient
from benchharness.store.predictions import MINIMAL_NORM

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchharness.attacks.core.norms import Budget
    from benchharness.attacks.core.objectives import Objective

UNREACHED = 1.0
"""The norm reported where no adversarial volume was found: the largest that [0, 1] admits."""
_BEYOND = 0.1
"""How far past the boundary a volume is moved, as a share of the norm that it needed."""


class Nearest:
    """The nearest adversarial point found so far, for every volume.

    Args:
        clean: (B, C, D, H, W).
        norm: The norm that measures the distance.
    """

    def __init__(self, clean: Tensor, norm: Budget) -> None:
        self.clean = clean
        self.norm = norm
        self.volumes = clean.clone()
        self.norms = torch.full((len(clean),), torch.inf, dtype=torch.float64, device=clean.device)

    @property
    def found(self) -> Tensor:
        """Whether there is one, bool (B,)."""
        return torch.isfinite(self.norms)

    def offer(self, points: Tensor, broken: Tensor) -> None:
        """Keep the points (B, C, D, H, W) that are broken and nearer."""
        norms = self.norm.size(points - self.clean)
        nearer = broken & (norms < self.norms)
        self.norms = torch.where(nearer, norms, self.norms)
        self.volumes = choose(nearer, points, self.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumNorm(Attack):
    """What these attacks share: which volumes to search for, the refinement, and the findings."""

    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)
    auc_undefined: ClassVar[str] = (
        "the attack looks for the boundary and stops there; take AUC from apgd_ce or pgd"
    )

    refinements: int = parameter(10, low=0)
    """Bisections of the segment from the clean volume to the one found; each halves the excess."""

    @abstractmethod
    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Offer adversarial points of volumes that are all classified correctly.

        Returns:
            The first gradient taken, (B, C, D, H, W).
        """

    def perturb(self, batch: Batch) -> Tensor:
        """Search for the volumes that are classified correctly; the others need no perturbation."""
        with torch.no_grad():
            correct = batch.classifier(batch.volumes).argmax(1) == batch.labels
        rows = correct.nonzero()[:, 0]
        norms = torch.zeros(len(correct), dtype=torch.float64, device=correct.device)
        found, zero = torch.ones_like(correct), torch.zeros_like(correct)
        adversarial = batch.volumes.clone()
        if len(rows):
            nearest = Nearest(batch.volumes[rows], BUDGETS[self.norm])
            gradient = self.search(batch.classifier, nearest, batch.labels[rows])
            self._refine(batch.classifier, nearest, batch.labels[rows])
            within = nearest.norms <= batch.severity
            beyond = self._beyond(batch.classifier, nearest, batch.labels[rows], batch.severity)
            adversarial[rows[within]] = beyond[within]
            norms[rows] = nearest.norms.clamp_max(UNREACHED)
            found[rows] = nearest.found
            zero[rows] = zero_gradient(gradient)
        batch.findings.update({MINIMAL_NORM: norms, "found": found, "zero_gradient": zero})
        return adversarial

    def _refine(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> None:
        """Bisect the segment from the adversarial point to the clean volume."""
        far, near = nearest.volumes, nearest.clean
        for _ in range(self.refinements):
            middle = (far + near) / 2
            with torch.no_grad():
                broken = classifier(middle).argmax(1) != labels
            nearest.offer(middle, broken & nearest.found)
            far, near = choose(broken, middle, far), choose(broken, near, middle)

    def _beyond(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, severity: float
    ) -> Tensor:
        """Go on by up to `_BEYOND` of the way, within the budget, where the point still breaks.

        On the boundary itself the last bits decide: the class could change back on another device
        or in another batch.
        """
        goal = (nearest.norms * (1 + _BEYOND)).clamp_max(severity)
        factor = torch.where(nearest.norms > 0, goal / nearest.norms, 1.0).clamp_min(1)
        delta = nearest.volumes - nearest.clean
        point = nearest.clean + factor.to(delta.dtype).view(-1, 1, 1, 1, 1) * delta
        point = nearest.norm.project(point, nearest.clean, severity)
        with torch.no_grad():
            broken = classifier(point).argmax(1) != labels
        return choose(broken, point, nearest.volumes)
