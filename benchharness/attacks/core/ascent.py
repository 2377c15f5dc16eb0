"""Projected gradient ascent on the cross-entropy: one loop for every norm, and its restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from benchharness.attacks.core.objectives import Worst, cross_entropy, evaluate
from benchharness.attacks.core.observation import progress
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.base import Batch
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


def refuse_equal_restarts(name: str, restarts: int, *, random_start: bool) -> None:
    """Raise BenchError for several restarts from the same start."""
    if restarts > 1 and not random_start:
        raise BenchError(
            f"{restarts} restarts of {name!r} without a random start are all the same; set "
            "restarts = 1 or random_start = true."
        )
