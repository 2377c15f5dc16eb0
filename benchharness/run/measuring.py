"""One cell → its record and predictions.

Nothing here reads or writes a store: a job, its networks and a cell go in, and plain values come
out, in whatever process. The runner is the one writer.

The last bits of logits depend on the memory layout of a split's array, and pickling changes it. A
process that must give the bits of another loads the dataset itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.errors import CellError
from benchharness.networks import checkpoints, costs, devices
from benchharness.run import evaluation
from benchharness.statistics import metrics
from benchharness.store import provenance
from benchharness.store.cells import CLEAN
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset
    from benchharness.networks.classifier import Classifier
    from benchharness.run.evaluation import Evaluated
    from benchharness.run.planning import Job
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import ModelCost


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Networks:
    """The networks of a job, loaded and ready to be evaluated."""

    judged: Classifier
    source: Classifier | None
    """The network that transferred volumes are made on."""


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
    """
    return checkpoints.load_classifier(
        weights.model,
        weights.path,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        device=device,
    )


def networks_of(job: Job, setting: Setting) -> Networks:
    """Load the networks of a job and prepare them for evaluation.

    Raises:
        BenchError: As `load`.
    """
    return Networks(
        judged=_prepared(job.weights, job.dataset, setting), source=source_of(job, setting)
    )


def source_of(job: Job, setting: Setting) -> Classifier | None:
    """Load the network that a job's volumes are transferred from; None where there is none.

    Raises:
        BenchError: As `load`.
    """
    return None if job.source is None else _prepared(job.source, job.dataset, setting)


def _prepared(weights: Weights, dataset: Dataset, setting: Setting) -> Classifier:
    classifier = load(weights, dataset, setting.device)
    return classifier.for_evaluation(compiled=setting.compiled)


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
        cost = _cost(job, setting.device) if cell.perturbation == CLEAN else None
        record = _filled(blank, found, cost)
        predictions = found.predictions
    except CellError as error:
        record = replace(blank, error=str(error))
    except Exception as error:
        # A user's network may raise anything; the other cells are worth having all the same.
        record = replace(blank, error=_in_one_line(error))
    seconds = round(time.perf_counter() - began, 3)
    record = replace(record, provenance=record.provenance | {"seconds": seconds})
    return Measured(record=record, predictions=predictions)


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
    if job.dataset.preparation:
        made["preparation"] = dict(job.dataset.preparation)
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


def _filled(blank: Record, found: Evaluated, cost: ModelCost | None) -> Record:
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
        cost=cost,
    )


def _cost(job: Job, device: str) -> ModelCost:
    """What the network costs as its author wrote it."""
    channels, depth, height, width = job.split.volumes.shape[1:]
    return costs.measure(load(job.weights, job.dataset, device), (channels, depth, height, width))


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
