"""Gradient ascent inside a ball: one loop for every norm, and restarts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.objectives import Worst, cross_entropy, evaluate
from benchharness.attacks.core.observation import ended, progress
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.base import Batch
    from benchharness.attacks.core.norms import Projection


def climb(
    start: Tensor,
    *,
    steps: int,
    step: float,
    gradient: Callable[[Tensor], Tensor],
    direction: Callable[[Tensor], Tensor],
    project: Projection,
) -> Tensor:
    """Take steps of equal length uphill, each projected back to the ball.

    Args:
        start: (B, C, D, H, W), inside the ball.
        steps: Number of steps.
        step: Length of a step, in the unit of the severity.
        gradient: From a point to the gradient of the objective there.
        direction: From a gradient to a step of length 1.
        project: From a point to the nearest one inside the ball and [0, 1].

    Returns:
        The last iterate, (B, C, D, H, W).
    """
    point = start
    for _ in range(steps):
        point = project(point + step * direction(gradient(point)))
    return point


def loss_gradient(batch: Batch, samples: int = 1) -> Callable[[Tensor], Tensor]:
    """The gradient of each volume's own cross-entropy, as a function of the point.

    Args:
        batch: What is attacked.
        samples: Passes to average over; more than 1 for stochastic networks.
    """

    def gradient(point: Tensor) -> Tensor:
        found = evaluate(batch.classifier, point, batch.labels, cross_entropy, samples=samples)
        return found.gradient

    return gradient


def worst_restart(
    batch: Batch, restarts: int, run: Callable[[], Tensor], *, samples: int = 1
) -> Tensor:
    """Run an attack on the cross-entropy several times and keep each volume's worst result.

    Args:
        batch: What is attacked; every restart draws anew.
        restarts: Number of runs.
        run: Returns adversarial volumes, (B, C, D, H, W).
        samples: Passes per gradient.
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
            batch.findings.update(progress(ended(batch.classifier.losses, loss, samples)))
    return worst.volumes


def refuse_equal_restarts(name: str, restarts: int, *, random_start: bool) -> None:
    """Raise BenchError for several restarts from the same start."""
    if restarts > 1 and not random_start:
        raise BenchError(
            f"{restarts} restarts of {name!r} without a random start are all the same; set "
            "restarts = 1 or random_start = true."
        )


def unit_mean(gradient: Tensor) -> Tensor:
    """Divide each of (B, C, D, H, W) by its mean magnitude; zero where it is zero."""
    # First by the largest magnitude: the mean of very small values would vanish in float32.
    gradient = LINF.spread(gradient)
    mean = gradient.abs().flatten(1).mean(1).view(-1, 1, 1, 1, 1)
    return gradient / torch.where(mean > 0, mean, 1.0)
