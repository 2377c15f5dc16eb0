"""Projected gradient descent in the L∞ and in the L2 ball.

torchattacks takes the mean of the batch's losses; a volume's gradient is that of its own loss over
B, and the sign does not see the scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torchattacks
from torch.nn import functional as F

from benchharness.attacks.core import bridge
from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import climb, refuse_equal_restarts, worst_restart
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import L2_RMS
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent on the cross-entropy from a uniform start."""

    name: ClassVar[str] = "pgd"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083; through torchattacks"
    summary: ClassVar[str] = (
        "Steps along the sign of the gradient from a random start, projected to the ball."
    )

    steps: int = parameter(10, low=1)
    """Gradient steps of one restart."""
    restarts: int = parameter(1, low=1)
    """Independent starts; a volume keeps the one that breaks it, or else the highest loss."""
    relative_step: float = parameter(2.5, low=0.0)
    """Length of a step times the number of steps, in units of ε."""
    random_start: bool = parameter(True)
    """Whether to start uniformly in the ball, or at the clean volume."""
    samples: int = parameter(1, low=1)
    """Passes that a gradient is summed over; more than 1 for stochastic networks (EOT-PGD)."""

    def validate(self) -> None:
        """Refuse restarts that would all be the same."""
        refuse_equal_restarts(self.name, self.restarts, random_start=self.random_start)

    def step(self, severity: float) -> float:
        """Length of one step, in intensity."""
        return self.relative_step * severity / self.steps

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters and the absolute length of a step."""
        return pairs({**self.parameters(), "step": self.step(severity)})

    def cost(self, num_classes: int) -> Cost:
        """A pass each way for every step; starts are compared by a forward pass each.

        Volumes that a random start leaves no worse are attacked once more from the clean volume.
        """
        compared = (self.restarts if self.restarts > 1 else 0) + self.random_start
        iterations = self.planned_iterations(num_classes)
        return Cost(forward=iterations + compared, backward=iterations)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step of every restart."""
        return self.steps * self.restarts * self.samples

    def perturb(self, batch: Batch) -> Tensor:
        """Keep the worst of the restarts for each volume."""
        worst = worst_restart(
            batch, self.restarts, lambda: self._restart(batch, random_start=self.random_start)
        )
        return self._rescued(batch, worst) if self.random_start else worst

    def _rescued(self, batch: Batch, worst: Tensor) -> Tensor:
        """Attack anew, from the clean volume, what the random starts left no worse than clean.

        Where ε is a good part of the range a random start is noise that no training volume looks
        like; a network may answer it with one class so firmly that the cross-entropy of that
        class is 0 to the last bit, and its gradient leads nowhere.
        """
        with torch.no_grad():
            clean, reached = (
                F.cross_entropy(logits, batch.labels, reduction="none")
                for logits in (batch.clean, batch.classifier(worst).float())
            )
        rows = (reached <= clean).nonzero().flatten()
        if len(rows) == 0:
            return worst
        stuck = replace(
            batch,
            volumes=batch.volumes[rows],
            labels=batch.labels[rows],
            clean=batch.clean[rows],
            draws=batch.draws.select(rows.tolist()),
            findings={},
        )
        return worst.index_copy(0, rows, self._restart(stuck, random_start=False))

    def _restart(self, batch: Batch, *, random_start: bool) -> Tensor:
        settings: dict[str, Any] = {
            "eps": batch.severity,
            "alpha": self.step(batch.severity),
            "steps": self.steps,
            "random_start": random_start,
        }
        if self.samples > 1:
            return bridge.run(torchattacks.EOTPGD, batch, eot_iter=self.samples, **settings)
        return bridge.run(torchattacks.PGD, batch, **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PGDL2(Attack):
    """Projected gradient descent on the cross-entropy in the L2 ball.

    torchattacks divides the batch's mean gradient by its norm plus 1e-10, so that small gradients
    of large batches are followed less far; hence this one.
    """

    name: ClassVar[str] = "pgd_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083; own implementation"
    summary: ClassVar[str] = (
        "Steps along the normalised gradient from a random start, projected to the L2 ball."
    )

    steps: int = parameter(10, low=1)
    """Gradient steps of one restart."""
    restarts: int = parameter(1, low=1)
    """Independent starts; a volume keeps the one that breaks it, or else the highest loss."""
    relative_step: float = parameter(2.5, low=0.0)
    """Length of a step times the number of steps, in units of ε."""
    random_start: bool = parameter(True)
    """Whether to start in a random direction at a uniform distance, or at the clean volume."""
    samples: int = parameter(1, low=1)
    """Passes that a gradient is averaged over; more than 1 for stochastic networks."""

    def validate(self) -> None:
        """Refuse restarts that would all be the same."""
        refuse_equal_restarts(self.name, self.restarts, random_start=self.random_start)

    def step(self, severity: float) -> float:
        """Length of one step, as root mean square per voxel."""
        return self.relative_step * severity / self.steps

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters and the absolute length of a step."""
        return pairs({**self.parameters(), "step": self.step(severity)})

    def cost(self, num_classes: int) -> Cost:
        """A pass each way for every step; several restarts are compared by a forward pass each."""
        compared = self.restarts if self.restarts > 1 else 0
        iterations = self.planned_iterations(num_classes)
        return Cost(forward=iterations + compared, backward=iterations)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step of every restart."""
        return self.steps * self.restarts * self.samples

    def perturb(self, batch: Batch) -> Tensor:
        """Keep the worst of the restarts for each volume."""
        return worst_restart(batch, self.restarts, lambda: self._restart(batch))

    def _restart(self, batch: Batch) -> Tensor:
        start = batch.volumes
        if self.random_start:
            direction = L2_RMS.spread(batch.draws.normal(start))
            radius = batch.draws.uniform(start[:, :1, :1, :1, :1], 0, batch.severity)
            start = (start + radius * direction).clamp(0, 1)
        return climb(
            batch,
            start,
            L2_RMS,
            step=self.step(batch.severity),
            steps=self.steps,
            samples=self.samples,
        )
