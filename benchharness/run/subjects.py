"""From a `RunConfig` to what `bench explain` explains: networks and the volumes they were given.

The volumes are made by `run.perturb`, as in `bench run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.explanation import Condition, Network, Subject
from benchharness.networks import devices
from benchharness.outside.containment import loading
from benchharness.run import measuring
from benchharness.run.perturb import perturb
from benchharness.run.planning import plan
from benchharness.run.weights import untrained
from benchharness.store.carried import called
from benchharness.store.cells import CONTROL_FAMILY, condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.run.config import RunConfig
    from benchharness.run.measuring import Setting
    from benchharness.run.perturb import Attacked, Stored
    from benchharness.run.planning import Job
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell


def subjects(
    config: RunConfig, note: Callable[[str], None] = lambda _: None
) -> tuple[Subject, ...]:
    """Plan a config and gather its networks by dataset; controls are left out.

    Args:
        config: As `bench run` takes it.
        note: Called with a line about everything left out.

    Raises:
        BenchError: As `planning.plan`, and when a checkpoint is yet to be trained.
    """
    device = devices.resolve(config.device)
    if config.compile:
        devices.check_compiler(device)
    if config.shard is not None:
        raise config.shard.refuse(
            "bench explain", "It draws a few volumes of every network: take shard out."
        )
    planned = plan(config)
    for remark in planned.notes:
        note(remark)
    jobs = [job for job in planned.jobs if job.cells[0].perturbation.family != CONTROL_FAMILY]
    _refuse_untrained(jobs, config)
    by_dataset: dict[str, list[Job]] = {}
    for job in jobs:
        by_dataset.setdefault(job.dataset.name, []).append(job)
    setting = measuring.Setting(
        device=device, batch_size=config.batch_size, compiled=config.compile
    )
    return tuple(
        _subject(of_one, planned.perturbations, setting, note) for of_one in by_dataset.values()
    )


def _refuse_untrained(jobs: Sequence[Job], config: RunConfig) -> None:
    for job in jobs:
        if job.weights.to_train:
            raise untrained(job.weights, job.dataset, config)


def _subject(
    jobs: Sequence[Job],
    perturbations: Mapping[str, Attack | Artefact],
    setting: Setting,
    note: Callable[[str], None],
) -> Subject:
    """Everything that is explained on one dataset."""
    first = jobs[0]
    by_network: dict[tuple[str, str | None, int | None], list[Job]] = {}
    for job in jobs:
        made = job.weights.checkpoint
        key = (called(job.weights.model.name, made.recipe), made.recipe_name, made.seed)
        by_network.setdefault(key, []).append(job)
    networks = list(by_network.values())
    if not _comparable(networks):
        note(
            f"transfers left out on {first.dataset.name}: networks do not meet the same sources. "
            "Name one training seed."
        )
        networks = [[job for job in own if job.source is None] for own in networks]
    named = {(name, recipe) for name, recipe, _ in by_network}
    recipes = len(named) > len({name for name, _ in named})
    seeds = len({job.weights.seed for job in jobs}) > 1
    return Subject(
        dataset=first.dataset,
        split=first.split,
        key=first.cells[0].dataset,
        networks=tuple(
            _network(own, perturbations, setting, recipes=recipes, seeds=seeds) for own in networks
        ),
        device=setting.device,
        batch_size=setting.batch_size_for(first.dataset),
        compiled=setting.compiled,
    )


def _comparable(networks: Sequence[Sequence[Job]]) -> bool:
    """Whether all networks have the same conditions, each once.

    Own weights meet a trained model once for each training seed; trained weights do not.
    """
    first, *others = (
        [condition(cell.perturbation) for job in own for cell in job.cells] for own in networks
    )
    return len(set(first)) == len(first) and all(other == first for other in others)


def _network(
    jobs: Sequence[Job],
    perturbations: Mapping[str, Attack | Artefact],
    setting: Setting,
    *,
    recipes: bool,
    seeds: bool,
) -> Network:
    """The jobs of one network, its clean one first."""
    weights, dataset = jobs[0].weights, jobs[0].dataset
    assert weights.checkpoint.sha256 is not None

    def load() -> Classifier:
        with loading(f"model {weights.model.name!r}"):
            return measuring.load(weights, dataset, setting.device)

    return Network(
        name=_name(weights, recipes=recipes, seeds=seeds),
        model=weights.model,
        checkpoint=weights.checkpoint.sha256,
        load=load,
        conditions=tuple(
            _condition(cell, job, perturbations.get(cell.perturbation.name), setting)
            for job in jobs
            for cell in job.cells
        ),
    )


def _name(weights: Weights, *, recipes: bool, seeds: bool) -> str:
    """What tells a network apart from the others."""
    recipe = f" · {weights.checkpoint.recipe_name}" if recipes and weights.checkpoint.recipe else ""
    name = called(weights.model.name, weights.checkpoint.recipe)
    return name + recipe + (f" seed {weights.seed}" if seeds else "")


def _condition(
    cell: Cell, job: Job, perturbation: Attack | Artefact | None, setting: Setting
) -> Condition:
    def volumes(classifier: Classifier, split: Split) -> Stored | Attacked:
        source = measuring.source_of(job, setting)
        return perturb(cell, split, perturbation, classifier, source=source, whole=job.split)

    return Condition(key=cell.perturbation, volumes=volumes)
