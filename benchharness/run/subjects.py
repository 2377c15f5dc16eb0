"""From a `RunConfig` to what `bench explain` explains: networks and the volumes they were given.

The volumes are made by `run.perturb`, as in `bench run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.explanation import Condition, Network, Subject
from benchharness.networks import devices
from benchharness.run import measuring
from benchharness.run.perturb import perturb
from benchharness.run.planning import plan
from benchharness.run.weights import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.run.config import RunConfig
    from benchharness.run.measuring import Setting
    from benchharness.run.perturb import Attacked, Stored
    from benchharness.run.planning import Job
    from benchharness.store.cells import Cell


def subjects(
    config: RunConfig, note: Callable[[str], None] = lambda _: None
) -> tuple[Subject, ...]:
    """Plan a config and gather its networks by dataset.

    Controls are left out. So are volumes made on another network: a heat map shows where a network
    looks when it is the one attacked.

    Args:
        config: As `bench run` takes it.
        note: Told one line at a time what is left out.

    Raises:
        BenchError: As `planning.plan`, and when a checkpoint is yet to be trained.
    """
    device = devices.resolve(config.device)
    if config.compile:
        devices.check_compiler(device)
    planned = plan(config)
    for remark in planned.notes:
        note(remark)
    for name in sorted({job.cells[0].perturbation.name for job in planned.jobs if job.source}):
        note(f"{name} left out: its volumes are made on other networks")
    # A job that begins with a clean cell is a network on a dataset. Others are its controls and
    # transfers.
    jobs = [job for job in planned.jobs if job.cells[0].perturbation.kind == "none"]
    _refuse_untrained(jobs, config.out)
    by_dataset: dict[str, list[Job]] = {}
    for job in jobs:
        by_dataset.setdefault(job.dataset.name, []).append(job)
    setting = measuring.Setting(
        device=device, batch_size=config.batch_size, compiled=config.compile
    )
    return tuple(
        _subject(networks, planned.perturbations, setting) for networks in by_dataset.values()
    )


def _refuse_untrained(jobs: Sequence[Job], out: Path) -> None:
    for job in jobs:
        if job.weights.to_train:
            model, dataset = job.weights.model.name, job.dataset
            raise BenchError(
                f"{missing(job.weights, dataset, out)} Train it with bench train --models {model} "
                f"--datasets {dataset.name} --out {out}, or pass --checkpoint {model}=PATH."
            )


def _subject(
    jobs: Sequence[Job], perturbations: Mapping[str, Attack | Artefact], setting: Setting
) -> Subject:
    first = jobs[0]
    several = len({job.weights.seed for job in jobs}) > 1
    return Subject(
        dataset=first.dataset,
        split=first.split,
        key=first.cells[0].dataset,
        networks=tuple(_network(job, setting.device, several=several) for job in jobs),
        conditions=tuple(
            _condition(cell, first.split, perturbations.get(cell.perturbation.name))
            for cell in first.cells
        ),
        device=setting.device,
        batch_size=setting.batch_size_for(first.dataset),
        compiled=setting.compiled,
    )


def _network(job: Job, device: str, *, several: bool) -> Network:
    weights = job.weights
    assert weights.checkpoint.sha256 is not None
    return Network(
        name=f"{weights.model.name} seed {weights.seed}" if several else weights.model.name,
        model=weights.model,
        checkpoint=weights.checkpoint.sha256,
        load=lambda: measuring.load(weights, job.dataset, device),
    )


def _condition(cell: Cell, whole: Split, perturbation: Attack | Artefact | None) -> Condition:
    def volumes(classifier: Classifier, split: Split) -> Stored | Attacked:
        return perturb(cell, split, perturbation, classifier, whole=whole)

    return Condition(key=cell.perturbation, volumes=volumes)
