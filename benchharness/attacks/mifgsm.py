"""MI-FGSM: sign steps along a running sum of normalised gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import climb, loss_gradient, unit_mean
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import LINF
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MIFGSM(Attack):
    """Momentum iterative fast gradient sign method, from the clean volume.

    torchattacks averages |gradient| over `dim=(1, 2, 3)`, which leaves out the last axis of a
    volume and divides by zero on an empty slice; hence this implementation.
    """

    name: ClassVar[str] = "mifgsm"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "Dong et al., CVPR 2018, arXiv 1710.06081; own implementation"
    summary: ClassVar[str] = (
        "Steps along the sign of a running sum of normalised gradients, from the clean volume."
    )

    steps: int = parameter(10, low=1)
    """Gradient steps."""
    decay: float = parameter(1.0, low=0.0)
    """Share µ of the sum that is kept from step to step."""
    relative_step: float = parameter(1.0, low=0.0)
    """Length of a step times the number of steps, in units of ε."""
    samples: int = parameter(1, low=1)
    """Passes per gradient; more than 1 for stochastic networks."""

    def step(self, severity: float) -> float:
        """Length of one step, in intensity."""
        return self.relative_step * severity / self.steps

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters and the absolute length of a step."""
        return pairs({**self.parameters(), "step": self.step(severity)})

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every step."""
        return Cost(forward=1, backward=1) * (self.steps * self.samples)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step."""
        return self.steps * self.samples

    def perturb(self, batch: Batch) -> Tensor:
        """Repeat `g ← µ·g + ∇L / mean|∇L|` and `x ← x + step·sign(g)`."""
        momentum = torch.zeros_like(batch.volumes)

        def direction(gradient: Tensor) -> Tensor:
            nonlocal momentum
            momentum = self.decay * momentum + unit_mean(gradient)
            return momentum.sign()

        return climb(
            batch.volumes,
            steps=self.steps,
            step=self.step(batch.severity),
            gradient=loss_gradient(batch, self.samples),
            direction=direction,
            project=LINF.projection(batch.volumes, batch.severity),
        )
