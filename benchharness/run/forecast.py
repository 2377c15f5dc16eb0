"""How long a plan takes and what it leaves on disk, from one batch of each of its networks.

Nothing is written. Weights that exist or not take the same time, so networks are timed with fresh
ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from benchharness.artefacts import corrupt
from benchharness.attacks import Attack
from benchharness.errors import BenchError, CellError
from benchharness.networks import building
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.networks.formats.programs import has_gradient, is_program
from benchharness.run.estimate import COST_PASSES, once, passes_of, training_passes
from benchharness.run.measuring import load
from benchharness.store.cells import CONTROL_FAMILY

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    from benchharness.artefacts import Artefact
    from benchharness.attacks.core.base import Cost
    from benchharness.run.measuring import Setting
    from benchharness.run.planning import Job, Plan
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell

_RECORD_BYTES = 2500
_VOLUME_BYTES = 12
"""Of a volume in stored predictions beside its logits: its id and label, compressed."""
_FINDINGS_BYTES = 48
"""Of a volume in those of an attack: what the attack reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of one volume."""

    forward: float
    backward: float
    parameters: int
    """Bytes of the network's weights."""


@dataclass(slots=True, kw_only=True)
class Row:
    """What one model does on one dataset by one recipe, all training seeds together."""

    model: str
    dataset: str
    to_run: int = 0
    recorded: int = 0
    controls: int = 0
    """How many of the cells to run are controls."""
    trainings: set[Path] = field(default_factory=set)
    seconds: float = 0.0
    control_seconds: float = 0.0
    bytes: int = 0
    """Records, predictions and checkpoints."""
    untimed: str = ""
    """Why `seconds` is not known; empty where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan takes on this machine; attacks that stop early take less."""

    rows: tuple[Row, ...]
    corruption_seconds: float
    """To make the corrupted volumes, once for all models; less where they are in the cache."""
    corruption_bytes: int
    """What these fill in the cache, if it takes them all."""

    @property
    def seconds(self) -> float:
        """Of everything that could be timed."""
        return self.corruption_seconds + sum(row.seconds for row in self.rows)

    @property
    def bytes(self) -> int:
        """Under `--out`."""
        return sum(row.bytes for row in self.rows)


def forecast(
    plan: Plan,
    recorded: Container[str],
    setting: Setting,
    clock: Callable[[], float] = time.perf_counter,
) -> Forecast:
    """Time one batch of every network that has cells to run.

    Args:
        plan: What would run.
        recorded: Identities of cells that need not run again.
        setting: How the run would measure.
        clock: In seconds.
    """
    rows: dict[tuple[str, str], Row] = {}
    paces: dict[object, Pace | str] = {}
    corruptions: dict[object, tuple[Job, Cell]] = {}
    several = _several_recipes(plan)
    for job in plan.jobs:
        model, dataset = job.weights.model, job.dataset
        recipe = job.weights.checkpoint.recipe_name
        name = f"{model.name} · {recipe}" if recipe in several else model.name
        row = rows.setdefault((name, dataset.name), Row(model=name, dataset=dataset.name))
        todo = [cell for cell in job.cells if cell.identity not in recorded]
        row.recorded += len(job.cells) - len(todo)
        if not todo:
            continue
        made_on = job.source or job.weights
        for weights in {made_on.model: made_on, model: job.weights}.values():
            if (weights.model, dataset.name) not in paces:
                paces[weights.model, dataset.name] = pace(weights, job, setting, clock)
        _add(row, job, todo, plan, paces[made_on.model, dataset.name])
        for cell in todo:
            if cell.perturbation.kind == "artefact":
                corruptions.setdefault((cell.dataset, cell.perturbation), (job, cell))
    seconds, size = _corruptions(corruptions, plan, clock)
    return Forecast(rows=tuple(rows.values()), corruption_seconds=seconds, corruption_bytes=size)


def _several_recipes(plan: Plan) -> set[str | None]:
    """The recipes of a plan's networks, where one network has several on one dataset."""
    found: dict[tuple[str, str], set[str | None]] = {}
    for job in plan.jobs:
        where = (job.weights.model.name, job.dataset.name)
        found.setdefault(where, set()).add(job.weights.checkpoint.recipe_name)
    return {name for own in found.values() if len(own) > 1 for name in own if name is not None}


def _add(row: Row, job: Job, todo: list[Cell], plan: Plan, pace: Pace | str) -> None:
    """Add the cells of a job to its row."""
    row.to_run += len(todo)
    if isinstance(pace, str):
        row.untimed = pace
        pace = Pace(forward=0.0, backward=0.0, parameters=0)
    for weights in job.weights.trainings():
        if weights.path not in row.trainings:
            row.trainings.add(weights.path)
            row.seconds += training_passes(weights, job.dataset) * pace.forward
            row.bytes += pace.parameters
    row.seconds += _seconds(once(job, todo, plan), pace)
    for cell in todo:
        extra = COST_PASSES if cell.perturbation.kind == "none" else 0
        seconds = _seconds(passes_of(cell, job, plan), pace) + extra * pace.forward
        row.seconds += seconds
        row.bytes += _bytes(cell, job)
        if cell.perturbation.family == CONTROL_FAMILY:
            row.controls += 1
            row.control_seconds += seconds


def _seconds(passes: Cost, pace: Pace) -> float:
    return passes.forward * pace.forward + passes.backward * pace.backward


def _bytes(cell: Cell, job: Job) -> int:
    findings = _FINDINGS_BYTES if cell.perturbation.kind == "attack" else 0
    return _RECORD_BYTES + len(job.split) * (4 * job.dataset.num_classes + _VOLUME_BYTES + findings)


def _classifier(weights: Weights, job: Job, setting: Setting) -> Classifier:
    """A network as it is built; a program is opened, since it is built of nothing else."""
    if is_program(weights.model):
        return load(weights, job.dataset, setting.device)
    network = building.build_network(
        weights.model, num_classes=job.dataset.num_classes, in_channels=job.dataset.in_channels
    )
    return Classifier.of(
        weights.model, network, num_classes=job.dataset.num_classes, device=setting.device
    )


def pace(
    weights: Weights,
    job: Job,
    setting: Setting,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace | str:
    """Time a network on one batch of its volumes; a text that says why it cannot be timed."""
    try:
        classifier = _classifier(weights, job, setting)
        network = classifier.network
        classifier = classifier.for_evaluation(compiled=setting.compiled)
        count = min(setting.batch_size_for(job.dataset), len(job.split))
        volumes = as_float(job.split.volumes[:count], setting.device)
        with classifier.frozen():
            _passed(classifier, volumes[:1], backward=False)
            began = clock()
            _passed(classifier, volumes, backward=False)
            forward = clock() - began
            _passed(classifier, volumes, backward=has_gradient(weights.model))
            both = clock() - began - forward
    except (BenchError, CellError) as error:
        return str(error)
    except Exception as error:
        # A user's network may raise anything; the others can be timed all the same.
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
    return Pace(
        forward=forward / count,
        backward=max(0.0, both - forward) / count,
        parameters=sum(value.nbytes for value in network.state_dict().values()),
    )


def _passed(classifier: Classifier, volumes: torch.Tensor, *, backward: bool) -> None:
    inputs = volumes.clone().requires_grad_(backward)
    with torch.set_grad_enabled(backward):
        logits = classifier(inputs)
    if backward and logits.requires_grad:
        torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)


def _corruptions(
    found: dict[object, tuple[Job, Cell]], plan: Plan, clock: Callable[[], float]
) -> tuple[float, int]:
    """Seconds and bytes of all corrupted sets, from one volume of each artefact and dataset."""
    paces: dict[tuple[str, str], float] = {}
    seconds, size = 0.0, 0
    for job, cell in found.values():
        key = (cell.perturbation.name, job.dataset.name)
        artefact = plan.perturbations[cell.perturbation.name]
        assert not isinstance(artefact, Attack)
        if key not in paces:
            paces[key] = _corruption_pace(artefact, job, cell, clock)
        seconds += paces[key] * len(job.split)
        size += 2 * job.split.volumes.size
    return seconds, size


def _corruption_pace(artefact: Artefact, job: Job, cell: Cell, clock: Callable[[], float]) -> float:
    severity, seed = cell.perturbation.severity, cell.perturbation.seed
    assert isinstance(severity, int)
    assert seed is not None
    split, durations = job.split, []
    for _ in range(2):  # the first loads libraries
        began = clock()
        try:
            corrupt(
                artefact,
                split.volumes[:1],
                split.ids[:1],
                severity=severity,
                seed=seed,
                spacing=split.spacing,
            )
        except Exception:
            # A user's artefact may raise anything; its cells will say what.
            return 0.0
        durations.append(clock() - began)
    return durations[-1]
