"""Projected gradient descent in the L∞ ball (`pgd`) and in the L2 ball (`pgd_l2`)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import (
    climb,
    loss_gradient,
    refuse_equal_restarts,
    worst_restart,
)
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import BUDGETS, L2_RMS
from benchharness.attacks.core.objectives import cross_entropy, evaluate
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.norms import Projection


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedGradient(Attack):
    """What both norms share; a norm gives the start, the gradient and the projection."""

    rescues: ClassVar[bool] = False
    """Whether volumes that every random start left no worse than clean are attacked once more,
    from the clean volume."""

    steps: int = parameter(10, low=1)
    """Gradient steps of one restart."""
    restarts: int = parameter(1, low=1)
    """Independent starts; a volume keeps the one that breaks it, or else the highest loss."""
    relative_step: float = parameter(2.5, low=0.0)
    """Length of a step times the number of steps, in units of ε."""
    random_start: bool = parameter(True)
    """Whether to start at a random point of the ball or at the clean volume."""
    samples: int = parameter(1, low=1)
    """Passes per gradient; more than 1 for stochastic networks (EOT-PGD)."""

    def validate(self) -> None:
        """Refuse restarts that would all be the same."""
        refuse_equal_restarts(self.name, self.restarts, random_start=self.random_start)

    def step(self, severity: float) -> float:
        """Length of one step, in the unit of the severity."""
        return self.relative_step * severity / self.steps

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters and the absolute length of a step."""
        return pairs({**self.parameters(), "step": self.step(severity)})

    def cost(self, num_classes: int) -> Cost:
        """A pass each way for every step; comparing restarts takes a forward pass each.

        Looking for volumes to rescue takes one more. The rescue itself, another restart's cost for
        the volumes that need it, is not counted.
        """
        compared = (self.restarts if self.restarts > 1 else 0) + self._looks_for_rescues
        iterations = self.planned_iterations(num_classes)
        return Cost(forward=iterations + compared, backward=iterations)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step of every restart."""
        return self.steps * self.restarts * self.samples

    @abstractmethod
    def start(self, batch: Batch) -> Tensor:
        """A random point of each volume's ball, within [0, 1]."""

    @abstractmethod
    def gradient(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """The gradient of the cross-entropy, as a function of the point."""

    @abstractmethod
    def projection(self, batch: Batch) -> Projection:
        """The projection to the ball and to [0, 1]."""

    def perturb(self, batch: Batch) -> Tensor:
        """Keep the worst of the restarts for each volume."""
        worst = worst_restart(
            batch, self.restarts, lambda: self._restart(batch), samples=self.samples
        )
        return self._rescued(batch, worst) if self._looks_for_rescues else worst

    def _restart(self, batch: Batch) -> Tensor:
        return self._ascended(batch, self.start(batch) if self.random_start else batch.volumes)

    def _ascended(self, batch: Batch, start: Tensor) -> Tensor:
        return climb(
            start,
            steps=self.steps,
            step=self.step(batch.severity),
            gradient=self.gradient(batch),
            direction=BUDGETS[self.norm].steepest,
            project=self.projection(batch),
        )

    @property
    def _looks_for_rescues(self) -> bool:
        return self.rescues and self.random_start

    def _rescued(self, batch: Batch, worst: Tensor) -> Tensor:
        """Attack from the clean volume what the random starts left no worse than clean.

        Where ε is a good part of the range, a random start is noise unlike any training volume. A
        network may answer it with one class so firmly that the cross-entropy of that class is 0 to
        the last bit, and its gradient leads nowhere.
        """
        with torch.no_grad():
            clean, reached = (
                F.cross_entropy(logits, batch.labels, reduction="none")
                for logits in (batch.clean, batch.classifier(worst).float())
            )
        rows = (reached <= clean).nonzero().flatten()
        if len(rows) == 0:
            return worst
        stuck = batch.select(rows)
        return worst.index_copy(0, rows, self._ascended(stuck, stuck.volumes))


@dataclass(frozen=True, slots=True, kw_only=True)
class PGD(ProjectedGradient):
    """Projected gradient descent in the L∞ ball, from a uniform start.

    Given the same draws, its volumes are bit-identical to those of torchattacks' PGD and EOTPGD:
    the gradient and the projection keep their order of arithmetic.
    """

    name: ClassVar[str] = "pgd"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = (
        "Madry et al., ICLR 2018, arXiv 1706.06083; own implementation, bit-identical to "
        "torchattacks'"
    )
    summary: ClassVar[str] = (
        "Steps along the sign of the gradient from a random start, projected to the ball."
    )
    rescues: ClassVar[bool] = True

    def start(self, batch: Batch) -> Tensor:
        """Uniform in the ball."""
        noise = batch.draws.uniform(batch.volumes, -batch.severity, batch.severity)
        return (batch.volumes + noise).clamp(0, 1)

    def gradient(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """The gradient of the batch's mean loss, summed over the passes.

        The sign ignores both scales, but rounding does not: a gradient near zero may round to the
        other sign, and a tiny one to zero.
        """

        def gradient(point: Tensor) -> Tensor:
            total = torch.zeros_like(point)
            for _ in range(self.samples):
                total += evaluate(batch.classifier, point, batch.labels, _share_of_mean).gradient
            return total

        return gradient

    def projection(self, batch: Batch) -> Projection:
        """Clip the perturbation, then the volume.

        `Linf.projection` clips to the same interval but leaves a volume inside it untouched; here
        subtracting and adding the clean volume rounds its last bit.
        """
        clean, bound = batch.volumes, batch.severity
        return lambda volumes: (clean + (volumes - clean).clamp(-bound, bound)).clamp(0, 1)


def _share_of_mean(logits: Tensor, labels: Tensor) -> Tensor:
    """−log p_y / B: each volume's share of the batch's mean cross-entropy."""
    return cross_entropy(logits, labels) / len(labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class PGDL2(ProjectedGradient):
    """Projected gradient descent in the L2 ball.

    torchattacks divides the batch's mean gradient by its norm plus 1e-10, so that it follows small
    gradients of large batches less far; hence this implementation.
    """

    name: ClassVar[str] = "pgd_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083; own implementation"
    summary: ClassVar[str] = (
        "Steps along the normalised gradient from a random start, projected to the L2 ball."
    )

    def start(self, batch: Batch) -> Tensor:
        """A random direction at a uniform distance."""
        direction = L2_RMS.spread(batch.draws.normal(batch.volumes))
        radius = batch.draws.uniform(batch.volumes[:, :1, :1, :1, :1], 0, batch.severity)
        return (batch.volumes + radius * direction).clamp(0, 1)

    def gradient(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Each volume's own, averaged over the passes."""
        return loss_gradient(batch, self.samples)

    def projection(self, batch: Batch) -> Projection:
        """The norm's own."""
        return L2_RMS.projection(batch.volumes, batch.severity)
