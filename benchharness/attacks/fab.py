"""FAB: steps to the linearised decision boundary nearest to the clean volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Cost
from benchharness.attacks.core.hyperplanes import boundaries, to_hyperplane
from benchharness.attacks.core.minimum_norm import MinimumNorm, Nearest
from benchharness.attacks.core.objectives import choose, ranked_targets
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class FastAdaptiveBoundary(MinimumNorm):
    """FAB in either norm."""

    steps: int = parameter(100, low=1)
    """Iterations, for each target if there are targets."""
    targets: int = parameter(0, low=0)
    """Most wrong classes to aim at in turn, in the order of their clean logits (FAB-T); 0 looks at
    all boundaries at once."""
    alpha_max: float = parameter(0.1, low=0.0, high=1.0)
    """Largest pull towards the clean volume."""
    eta: float = parameter(1.05, low=1.0)
    """Length of a step, in units of the distance to the hyperplane."""
    beta: float = parameter(0.9, low=0.0, high=1.0)
    """Where a misclassified iterate moves back to, as a share of the way from the clean volume."""

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters, and the number of targets that this many classes leave."""
        aimed = min(self.targets, num_classes - 1)
        return pairs({**self.parameters(), "effective_targets": aimed})

    def cost(self, num_classes: int) -> Cost:
        """A backward pass for every boundary and two forward passes, at every step."""
        if self.targets:
            step = Cost(forward=2, backward=1) * min(self.targets, num_classes - 1)
        else:
            step = Cost(forward=2, backward=num_classes - 1)
        return step * self.steps + Cost(forward=3 + self.refinements, backward=0)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Run once, or once for each target."""
        if not self.targets:
            return self._run(classifier, nearest, labels, None)
        with torch.no_grad():
            ranking = ranked_targets(classifier(nearest.clean), labels)[:, : self.targets]
        firsts = [self._run(classifier, nearest, labels, targets) for targets in ranking.T]
        return firsts[0]

    def _run(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, targets: Tensor | None
    ) -> Tensor:
        """Step to the nearest boundary, pulled towards the clean volume (FAB, Algorithm 1)."""
        clean, norm = nearest.clean, nearest.norm
        point, first = clean, None
        for _ in range(self.steps):
            found, _ = boundaries(classifier, point, labels, targets)
            difference, gradient = found.nearest(norm)
            first = gradient if first is None else first
            at_clean = difference.double() + (
                (clean - point).flatten(1).double() * gradient.flatten(1).double()
            ).sum(1)
            step = to_hyperplane(point, gradient, -difference, norm)
            back = to_hyperplane(clean, gradient, -at_clean.to(difference.dtype), norm)
            here, there = norm.size(step), norm.size(back)
            pull = (here / (here + there).clamp_min(1e-30)).clamp_max(self.alpha_max)
            pull = pull.to(point.dtype).view(-1, 1, 1, 1, 1)
            point = (1 - pull) * (point + self.eta * step) + pull * (clean + self.eta * back)
            point = point.clamp(0, 1)
            with torch.no_grad():
                broken = classifier(point).argmax(1) != labels
            nearest.offer(point, broken)
            point = choose(broken, clean + self.beta * (point - clean), point)
        assert first is not None
        return first


_FAB = "Croce & Hein, ICML 2020, arXiv 1907.02044; own implementation"


@dataclass(frozen=True, slots=True, kw_only=True)
class FAB(FastAdaptiveBoundary):
    """Fast adaptive boundary attack, L∞."""

    name: ClassVar[str] = "fab"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _FAB
    summary: ClassVar[str] = (
        "Steps to the linearised decision boundary nearest to the clean volume; minimal L∞ norm."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FABL2(FastAdaptiveBoundary):
    """Fast adaptive boundary attack, L2."""

    name: ClassVar[str] = "fab_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = _FAB
    summary: ClassVar[str] = (
        "Steps to the linearised decision boundary nearest to the clean volume; minimal L2 norm."
    )
