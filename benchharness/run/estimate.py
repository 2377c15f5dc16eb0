"""What a plan will cost, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.attacks import Attack
from benchharness.attacks.core import whole_gradient
from benchharness.attacks.core.base import Cost
from benchharness.errors import CellError
from benchharness.networks import behaviour, costs, outputs
from benchharness.networks.costs import LATENCY_BATCH
from benchharness.outside.containment import loading

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from benchharness.datasets import Dataset
    from benchharness.run.planning import Job, Plan
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell

COST_PASSES = 10 * LATENCY_BATCH
"""Passes of a volume with which a clean cell also measures what the network costs."""
_TRAINING_PASS = 3
"""Forward passes that one training step takes for each volume: the backward pass takes two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is left to do; upper bounds where an attack may stop early."""

    cells: int
    trainings: int
    forward: int
    """Forward passes of one volume."""
    backward: int
    """Backward passes of one volume, to its voxels."""
    flops: float
    """Operations of these passes; a backward pass to the voxels costs about a forward pass."""
    uncounted: tuple[str, ...] = ()
    """Models whose operations cannot be counted and are not in `flops`."""

    def __str__(self) -> str:
        without = f" and without {', '.join(self.uncounted)}" if self.uncounted else ""
        return (
            f"{self.cells} cells to run, {self.trainings} checkpoints to train first; "
            f"{self.forward:,} forward and {self.backward:,} backward passes of a volume, "
            f"about {self.flops / 1e12:.3g} TFLOP without training{without}"
        )


def estimate(plan: Plan, recorded: Container[str]) -> Estimate:
    """Count the passes of every cell whose identity is not in `recorded`."""
    cells = 0
    passes = Cost(forward=0, backward=0)
    trainings = set()
    flops = 0.0
    uncounted: dict[str, None] = {}
    for job in plan.jobs:
        pending = [cell for cell in job.cells if cell.identity not in recorded]
        if not pending:
            continue
        cells += len(pending)
        trainings |= {weights.path for weights in job.weights.trainings()}
        one_pass = flops_of_pass(job)
        if one_pass is None:
            uncounted[job.weights.model.name] = None
        taken = once(job, pending, plan)
        for cell in pending:
            taken += passes_of(cell, job, plan)
        passes += taken
        flops += (taken.forward + taken.backward) * (one_pass or 0)
    return Estimate(
        cells=cells,
        trainings=len(trainings),
        forward=passes.forward,
        backward=passes.backward,
        flops=flops,
        uncounted=tuple(uncounted),
    )


def passes_of(cell: Cell, job: Job, plan: Plan) -> Cost:
    """Passes of all volumes of a cell through its network."""
    perturbation = plan.perturbations.get(cell.perturbation.name)
    if isinstance(perturbation, Attack):
        with loading(f"attack {perturbation.name!r}"):
            made = perturbation.cost(job.dataset.num_classes) * len(job.split)
            return made + perturbation.checks(len(job.split))
    # A clean cell freezes its thresholds on the val volumes.
    others = len(job.dataset.val) if cell.perturbation.kind == "none" else 0
    return Cost(forward=len(job.split) + others, backward=0)


def once(job: Job, pending: Iterable[Cell], plan: Plan) -> Cost:
    """Passes with which a network is watched once, whatever number of its cells are to run."""
    volumes = len(job.split)
    found = Cost(forward=behaviour.passes(volumes) + outputs.passes(volumes), backward=0)
    if any(follows_judged(cell, plan) for cell in pending):
        forward, backward = whole_gradient.passes(volumes)
        found += Cost(forward=forward, backward=backward)
    return found


def follows_judged(cell: Cell, plan: Plan) -> bool:
    """Whether the gradient of a cell's network is checked as a whole before the cell is run."""
    perturbation = plan.perturbations.get(cell.perturbation.name)
    if not isinstance(perturbation, Attack):
        return False
    with loading(f"attack {perturbation.name!r}"):
        return perturbation.follows_judged


def may_end_early(cell: Cell, job: Job, plan: Plan) -> bool:
    """Whether a cell may take fewer passes than are counted for it."""
    perturbation = plan.perturbations.get(cell.perturbation.name)
    if not isinstance(perturbation, Attack):
        return False
    with loading(f"attack {perturbation.name!r}"):
        return perturbation.planned_iterations(job.dataset.num_classes) is None


def training_passes(weights: Weights, data: Dataset) -> int:
    """Forward passes of a volume that take as long as a training."""
    assert weights.recipe is not None
    home = weights.home
    if home is not None:
        return weights.recipe.passes(home.train, home.val)
    return weights.recipe.passes(len(data.train), len(data.val))


def flops_of_pass(job: Job) -> int | None:
    """Operations of one forward pass of a volume; None where they cannot be counted.

    They are those of the network that a job's volumes are made on.
    """
    model = (job.weights if job.source is None else job.source).model
    try:
        return costs.flops_of(
            model, num_classes=job.dataset.num_classes, shape=job.split.volumes.shape[1:]
        )
    except CellError:
        return None
