"""How much work a plan is, before any of it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchharness import registry
from benchharness.attacks import CHECKING, Attack
from benchharness.networks import costs

if TYPE_CHECKING:
    from collections.abc import Container

    from benchharness.run.planning import Plan, Work
    from benchharness.store.cells import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Work that is left; upper bounds where an attack may stop early."""

    cells: int
    trainings: int
    forward: int
    """Forward passes of one volume."""
    backward: int
    """Backward passes of one volume, to its voxels."""
    flops: float
    """Operations of these passes; a backward pass to the voxels costs about a forward pass."""

    def __str__(self) -> str:
        return (
            f"{self.cells} cells to run, {self.trainings} checkpoints to train first; "
            f"{self.forward:,} forward and {self.backward:,} backward passes of a volume, "
            f"about {self.flops / 1e12:.3g} TFLOP without training"
        )


def estimate(plan: Plan, recorded: Container[str]) -> Estimate:
    """Count the passes of every cell whose identity is not in `recorded`."""
    cells = forward = backward = 0
    trainings = set()
    flops = 0.0
    for work in plan.work:
        pending = [cell for cell in work.cells if cell.identity not in recorded]
        if not pending:
            continue
        one_pass = _flops(work if work.source is None else work.source)
        cells += len(pending)
        if work.to_train:
            trainings.add(work.weights)
        for cell in pending:
            ahead, back = _passes(cell, plan, work.dataset.num_classes)
            forward += ahead * len(work.split)
            backward += back * len(work.split)
            flops += (ahead + back) * len(work.split) * one_pass
            if cell.perturbation.kind == "none":  # Its thresholds are frozen on the val volumes.
                forward += len(work.dataset.val)
                flops += len(work.dataset.val) * one_pass
    return Estimate(
        cells=cells, trainings=len(trainings), forward=forward, backward=backward, flops=flops
    )


def _passes(cell: Cell, plan: Plan, num_classes: int) -> tuple[int, int]:
    perturbation = plan.perturbations.get(cell.perturbation.name)
    if not isinstance(perturbation, Attack):
        return 1, 0
    cost = perturbation.cost(num_classes) + CHECKING
    return cost.forward, cost.backward


def _flops(work: Work) -> int:
    """Operations of one forward pass, counted on the meta device: no arithmetic is done."""
    factory = registry.import_target(work.model.factory)
    with torch.device("meta"):
        network = factory(
            work.dataset.num_classes,
            in_channels=work.dataset.in_channels,
            **dict(work.model.arguments),
        ).eval()
        volume = torch.empty((1, *work.split.volumes.shape[1:]))
    with torch.no_grad():
        return costs.count_flops(network, volume)
