"""One cell → its record and predictions.

Nothing here reads or writes a store: a job, its networks and a cell go in, and plain values come
out, in whatever process. The driver is the one writer.

The last bits of logits depend on the memory layout of a split's array, and pickling changes it. A
process that must give the bits of another loads the dataset itself.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from benchharness.attacks import Attack
from benchharness.attacks.core import whole_gradient
from benchharness.errors import CellError
from benchharness.networks import behaviour, checkpoints, costs, devices, fitting, outputs
from benchharness.networks.formats import programs
from benchharness.outside.containment import contained, in_one_line
from benchharness.run import evaluation
from benchharness.statistics import metrics
from benchharness.store import provenance
from benchharness.store.cells import CLEAN
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.artefacts import Artefact
    from benchharness.datasets import Dataset
    from benchharness.networks.classifier import Classifier
    from benchharness.run.evaluation import Evaluated
    from benchharness.run.planning import Job
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a run measures: part of a record's provenance, never of a cell's identity."""

    device: str
    batch_size: int | None = None
    """Volumes per forward pass; None chooses by device and volume size."""
    compiled: bool = False
    """Whether networks run through `torch.compile`."""

    def batch_size_for(self, dataset: Dataset) -> int:
        """Volumes per forward pass on a dataset."""
        return self.batch_size or devices.batch_size(self.device, dataset.grid)


@dataclass(frozen=True, kw_only=True, eq=False)
class Networks:
    """The networks of a job, loaded and ready to be evaluated."""

    judged: Classifier
    plain: Classifier
    """The same before the compiler."""
    volumes: Tensor | NDArray[np.unsignedinteger]
    """(N, C, D, H, W), what it is judged on."""
    source: Classifier | None
    """The network that transferred volumes are made on."""
    behaviour: tuple[Check, ...] = ()
    """What `behaviour.checks` found of the judged network, and where it failed of the source."""
    outputs: tuple[Check, ...] = ()
    """What `outputs.checks` found of the judged network."""

    @cached_property
    def gradient(self) -> tuple[Check, ...]:
        """What `whole_gradient.checks` finds of it, once an attack follows its gradient."""
        return whole_gradient.checks(self.plain, self.volumes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A measured cell before it is stored."""

    record: Record
    """Names no predictions yet: the writer adds them once they are stored."""
    predictions: Predictions | None
    """None when the cell failed or its perturbation does not apply."""


def load(weights: Weights, dataset: Dataset, device: str) -> Classifier:
    """Load a network as its author wrote it.

    Raises:
        BenchError: When the weights do not fit it.
        CellError: When it cannot be built, or its weights are no longer those that were planned.
    """
    known = weights.checkpoint.sha256
    if known is not None and programs.digest(weights.model, weights.path) != known:
        raise CellError(f"{weights.path} has changed since this run began")
    return checkpoints.load_classifier(
        weights.model,
        weights.path,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        device=device,
        part=weights.checkpoint.part,
    )


def networks_of(job: Job, setting: Setting) -> Networks:
    """Load the networks of a job, watch what they do, and prepare them for evaluation.

    Raises:
        BenchError: As `load`.
        CellError: As `load`.
    """
    judged = _watched(job.weights, job, setting)
    if job.source is None:
        return judged
    source, name = _watched(job.source, job, setting), job.source.model.name
    doubts = (
        replace(check, reason=f"of the source {name}: {check.reason}")
        for check in behaviour.failed(source.behaviour)
    )
    return replace(judged, source=source.judged, behaviour=(*judged.behaviour, *doubts))


def _watched(weights: Weights, job: Job, setting: Setting) -> Networks:
    """A prepared network, its behaviour and its outputs, watched without the compiler's delays."""
    loaded = load(weights, job.dataset, setting.device)
    prepared = loaded.for_evaluation()
    volumes = job.split.volumes
    found = (*behaviour.checks(prepared, volumes), *fitting.checks(loaded, volumes))
    answers = outputs.checks(prepared, volumes)
    evaluated = loaded.for_evaluation(compiled=True) if setting.compiled else prepared
    return Networks(
        judged=evaluated,
        plain=prepared,
        volumes=volumes,
        source=None,
        behaviour=found,
        outputs=answers,
    )


def source_of(job: Job, setting: Setting) -> Classifier | None:
    """Load the network that a job's volumes are transferred from; None where there is none.

    Raises:
        BenchError: As `load`.
    """
    if job.source is None:
        return None
    loaded = load(job.source, job.dataset, setting.device)
    return loaded.for_evaluation(compiled=setting.compiled)


def measure(
    cell: Cell,
    job: Job,
    perturbation: Attack | Artefact | None,
    networks: Networks,
    setting: Setting,
    *,
    before: Sequence[Predictions] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Measure one cell; whatever goes wrong becomes a record with its error.

    Args:
        cell: What is measured; its checkpoints are known.
        job: The job that the cell is part of.
        perturbation: What the cell names; None for a clean cell.
        networks: From `networks_of`.
        setting: How to measure.
        before: As for `evaluation.evaluate`.
        progress: Called with the number of volumes finished since the last call.
    """
    blank = _blank(cell, job, setting, "not measured")
    began = time.perf_counter()
    predictions = None
    try:
        with contained():
            found = evaluation.evaluate(
                cell,
                networks.judged,
                job.split,
                perturbation,
                batch_size=setting.batch_size_for(job.dataset),
                source=networks.source,
                before=before,
                progress=progress,
                val=job.dataset.val,
            )
        found = replace(
            found, certificate=(*found.certificate, *_of_network(cell, perturbation, networks))
        )
        record = _filled(blank, found)
        if cell.perturbation == CLEAN:
            record = _with_cost(record, job, setting)
        predictions = found.predictions
    except Exception as error:
        # A user's network may raise anything; the other cells are worth having all the same.
        record = replace(blank, error=in_one_line(error))
    seconds = round(time.perf_counter() - began, 3)
    record = replace(record, provenance=record.provenance | {"seconds": seconds})
    return Measured(record=record, predictions=predictions)


def _of_network(
    cell: Cell, perturbation: Attack | Artefact | None, networks: Networks
) -> tuple[Check, ...]:
    """What a record keeps of the network: its behaviour with a clean cell, else doubts.

    An attack compares two passes itself, and may average over a network's draws. Its own are the
    checks of outputs and of the gradient: those on which only a gradient hangs stand with attacks
    that take one.
    """
    if cell.perturbation == CLEAN:
        return networks.behaviour
    doubts = behaviour.failed(networks.behaviour)
    if not isinstance(perturbation, Attack):
        return doubts
    by_gradient = perturbation.follows_judged
    return (
        *(check for check in doubts if check.name != behaviour.DRAWS),
        *(check for check in networks.outputs if by_gradient or check.name != outputs.SQUASHED),
        *(networks.gradient if by_gradient else ()),
    )


def failed(cell: Cell, job: Job, setting: Setting, reason: str) -> Measured:
    """The record of a cell that could not be measured at all."""
    record = _blank(cell, job, setting, reason)
    record = replace(record, provenance=record.provenance | {"seconds": 0.0})
    return Measured(record=record, predictions=None)


def _blank(cell: Cell, job: Job, setting: Setting, reason: str) -> Record:
    made = provenance.collect(setting.device) | {
        "started": provenance.now(),
        "batch_size": setting.batch_size_for(job.dataset),
        "compiled": setting.compiled,
    }
    if job.data.typed != job.dataset.name:
        made["typed_dataset"] = job.data.typed
    if job.weights.reading:
        made["weights"] = job.weights.reading
    if job.dataset.preparation:
        made["preparation"] = dict(job.dataset.preparation)
    if job.weights.parity is not None:
        made["parity"] = asdict(job.weights.parity)
    return Record(
        cell=cell,
        status="error",
        metrics={},
        undefined={},
        certificate=(),
        facts={},
        cost=None,
        predictions=None,
        provenance=made,
        error=reason,
    )


def _filled(blank: Record, found: Evaluated) -> Record:
    values: dict[str, float | None]
    if found.predictions is None:
        values = dict.fromkeys(metrics.NAMES)
        undefined = dict.fromkeys(metrics.NAMES, found.inapplicable)
    else:
        values, undefined = metrics.compute(found.predictions.labels, found.predictions.logits)
    return replace(
        blank,
        status="ok",
        error=None,
        metrics=values | dict.fromkeys(found.undefined),
        undefined=undefined | found.undefined,
        certificate=found.certificate,
        facts=found.facts,
    )


def _with_cost(record: Record, job: Job, setting: Setting) -> Record:
    """The record with what the network costs as its author wrote it, else with the reason."""
    channels, depth, height, width = job.split.volumes.shape[1:]
    try:
        with contained():
            cost = costs.measure(
                load(job.weights, job.dataset, setting.device),
                (channels, depth, height, width),
                batch=min(costs.LATENCY_BATCH, setting.batch_size_for(job.dataset)),
            )
    except Exception as error:
        # The number is measured; what a pass costs is not worth losing it.
        return replace(record, facts=record.facts | {"no_cost": in_one_line(error)})
    return replace(record, cost=cost)
