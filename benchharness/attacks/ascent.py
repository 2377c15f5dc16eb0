"""Projected gradient ascent, one loop for every norm, and the attacks that are no more than it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import L2_RMS, LINF
from benchharness.attacks.core.objectives import Worst, cross_entropy, evaluate
from benchharness.attacks.core.observation import progress
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.norms import Budget


def climb(
    batch: Batch,
    start: Tensor,
    norm: Budget,
    *,
    step: float,
    steps: int,
    direction: Callable[[Tensor], Tensor] | None = None,
    samples: int = 1,
) -> Tensor:
    """Take steps that raise the cross-entropy, each projected to the ball.

    Args:
        batch: What is attacked.
        start: (B, C, D, H, W), inside the ball.
        norm: Projects.
        step: Length of a step in the unit of the severity.
        steps: How many.
        direction: From a gradient to a step of length 1; steepest in the norm when None.
        samples: Passes that a gradient is averaged over.

    Returns:
        The last iterate.
    """
    direction = norm.steepest if direction is None else direction
    project = norm.projection(batch.volumes, batch.severity)
    point = start
    for _ in range(steps):
        found = evaluate(batch.classifier, point, batch.labels, cross_entropy, samples=samples)
        point = project(point + step * direction(found.gradient))
    return point


def worst_restart(batch: Batch, restarts: int, run: Callable[[], Tensor]) -> Tensor:
    """Run an attack on the cross-entropy several times, and keep the worst for each volume.

    Args:
        batch: What is attacked; its draws begin anew with every restart.
        restarts: How often.
        run: Returns adversarial volumes, (B, C, D, H, W).
    """
    if restarts == 1:
        return run()
    worst = Worst(batch.volumes)
    for number in range(restarts):
        batch.draws.restart(number)
        volumes = run()
        with torch.no_grad():
            logits = batch.classifier(volumes).float()
        loss = F.cross_entropy(logits, batch.labels, reduction="none")
        worst.offer(volumes, loss, logits.argmax(1) != batch.labels)
        if number == 0:
            # Convergence is judged within one restart: over all of them it would look settled.
            batch.findings.update(progress([*batch.classifier.losses, loss]))
    return worst.volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class MIFGSM(Attack):
    """Momentum iterative fast gradient sign method, from the clean volume.

    torchattacks averages |gradient| over `dim=(1, 2, 3)`, which leaves out the last axis of a
    volume and divides by zero on an empty slice; hence this one.
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
    """How much of the sum is kept from step to step, µ."""
    relative_step: float = parameter(1.0, low=0.0)
    """Length of a step times the number of steps, in units of ε."""
    samples: int = parameter(1, low=1)
    """Passes that a gradient is averaged over; more than 1 for stochastic networks."""

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
        """G ← µ·g + ∇L / mean|∇L|, x ← x + step·sign(g)."""
        momentum = torch.zeros_like(batch.volumes)

        def direction(gradient: Tensor) -> Tensor:
            nonlocal momentum
            momentum = self.decay * momentum + _unit_mean(gradient)
            return momentum.sign()

        return climb(
            batch,
            batch.volumes,
            LINF,
            step=self.step(batch.severity),
            steps=self.steps,
            direction=direction,
            samples=self.samples,
        )


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


def refuse_equal_restarts(name: str, restarts: int, *, random_start: bool) -> None:
    """Raise BenchError for several restarts from the same start."""
    if restarts > 1 and not random_start:
        raise BenchError(
            f"{restarts} restarts of {name!r} without a random start are all the same; set "
            "restarts = 1 or random_start = true."
        )


def _unit_mean(gradient: Tensor) -> Tensor:
    """Divide by the mean magnitude; zero where the gradient is zero."""
    # By the largest magnitude first: the mean of very small ones would vanish in float32.
    gradient = LINF.spread(gradient)
    mean = gradient.abs().flatten(1).mean(1).view(-1, 1, 1, 1, 1)
    return gradient / torch.where(mean > 0, mean, 1.0)
