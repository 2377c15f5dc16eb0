"""From a `RunConfig` to a plan: names resolved, data and weights located, nothing run.

Whatever a user can get wrong is found here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import artefacts, attacks, datasets, registry
from benchharness.attacks import full_range
from benchharness.disk import caches
from benchharness.errors import BenchError
from benchharness.outside.containment import loading
from benchharness.run import keys, own_weights
from benchharness.run.weights import locate
from benchharness.store.cells import CLEAN, Cell, SourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.run.config import ModelOptions, RunConfig
    from benchharness.run.own_weights import Files
    from benchharness.run.weights import Weights
    from benchharness.store.cells import ModelKey, PerturbationKey

    Models = Sequence[tuple[ModelKey, ModelOptions]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """Some cells of one network on one dataset, and the training of its weights if need be."""

    weights: Weights
    dataset: Dataset
    split: Split
    """The evaluated volumes: the test split, or a subset of it."""
    cells: tuple[Cell, ...]
    source: Weights | None = None
    """The network that volumes are made on, where they are transferred from another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Everything that a run will do."""

    jobs: tuple[Job, ...]
    perturbations: Mapping[str, Attack | Artefact]
    """By name; clean cells have none."""
    notes: tuple[str, ...]
    """What was left out and why, a line each."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they run."""
        return tuple(cell for job in self.jobs for cell in job.cells)


def plan(config: RunConfig) -> Plan:
    """Resolve a config into jobs.

    Raises:
        BenchError: For an unknown name, unusable data, a checkpoint that is absent or does not
            fit, or a perturbation that a dataset does not allow.
    """
    caches.limit()  # A wrong BENCH_CACHE_GIB is refused here, not after the training.
    models = keys.models(config)
    chosen_attacks = _attacks(config)
    chosen_artefacts = {
        name: artefacts.build(name) for name in registry.expand("artefacts", config.artefacts)
    }
    perturbations = _by_own_name(chosen_attacks, chosen_artefacts)
    notes: list[str] = []
    jobs: list[Job] = []
    own = own_weights.own_weights(config.checkpoint, keys.model_names(config))
    loaded = _datasets(config)
    own_weights.check_datasets(own, ((typed, dataset.name) for typed, dataset in loaded))
    for typed, dataset in loaded:
        usable, left_out = _applicable(config, chosen_attacks, dataset, len(models))
        notes += [*dataset.notes, *_limit_notes(config, dataset), *left_out]
        files = {
            key.name: own_weights.choose(own, key.name, (typed, dataset.name), config.seeds)
            for key, _ in models
        }
        jobs += _jobs(config, models, dataset, files, usable, list(chosen_artefacts.values()))
    notes += _unrepeated(config, jobs)
    return Plan(jobs=tuple(jobs), perturbations=perturbations, notes=tuple(notes))


def _datasets(config: RunConfig) -> list[tuple[str, Dataset]]:
    """Every dataset, with what was typed for it."""
    found = [
        (typed, datasets.load(typed, config.data_root, config.preparation))
        for typed in _dataset_names(config)
    ]
    for _, dataset in found:
        keys.check_folder_name("dataset", dataset.name)
    return found


def _limit_notes(config: RunConfig, dataset: Dataset) -> list[str]:
    if config.limit is None or config.limit <= len(dataset.test):
        return []
    return [
        f"--limit {config.limit} is more than {dataset.name} has: all {len(dataset.test)} test "
        "volumes are evaluated."
    ]


def _unrepeated(config: RunConfig, jobs: Sequence[Job]) -> list[str]:
    """Say which networks several `--seeds` do not repeat.

    Raises:
        BenchError: When that is all of them.
    """
    if len(config.seeds) < 2:
        return []
    single = {job.weights.model.name: job.weights.path for job in jobs if job.weights.seed is None}
    seeds = ",".join(map(str, config.seeds))
    lines = [
        f"--checkpoint {name}={path} is one network, so --seeds {seeds} measures it once. For one "
        f"file a seed type --checkpoint {name}#{config.seeds[0]}=PATH and so on."
        for name, path in single.items()
    ]
    if lines and all(job.weights.seed is None for job in jobs):
        raise BenchError(f"{lines[0]} Else leave --seeds out.")
    return lines


def _dataset_names(config: RunConfig) -> tuple[str, ...]:
    names = registry.expand("datasets", config.datasets)
    if config.preparation is not None and not any(map(datasets.is_prepared, names)):
        raise BenchError(
            "--size, --spacing, --window and --modality are for a folder or a CSV of volumes, got "
            f"{', '.join(names)}. Take them out, or name such a folder."
        )
    return names


def _attacks(config: RunConfig) -> dict[str, Attack]:
    names = registry.expand("attacks", config.attacks)
    parameters = {name: dict(values) for name, values in config.attack_parameters}
    for name in parameters:
        if name not in names:
            raise BenchError(
                f"[attack.{name}] of the config sets parameters of an attack that this run does "
                f"not use. Add {name} to --attacks or take the table out."
            )
    return {name: attacks.build(name, parameters.get(name, {})) for name in names}


def _by_own_name(
    attacks: Mapping[str, Attack], artefacts: Mapping[str, Artefact]
) -> dict[str, Attack | Artefact]:
    """Every perturbation by the name that its cells have, which need not be the one typed.

    Raises:
        BenchError: When two have one name.
    """
    found: dict[str, Attack | Artefact] = {control.name: control for control in keys.CONTROLS}
    typed = dict.fromkeys(found, "a control of every attacked network")
    everything: dict[str, Attack | Artefact] = {**attacks, **artefacts}
    for text, perturbation in everything.items():
        name = perturbation.name
        if name == CLEAN.name or name in found:
            owner = typed.get(name, "the clean cell")
            raise BenchError(f"{text!r} and {owner} are both called {name!r}. Rename the plug-in.")
        found[name], typed[name] = perturbation, repr(text)
    return found


def _applicable(
    config: RunConfig, chosen: Mapping[str, Attack], dataset: Dataset, models: int
) -> tuple[list[Attack], list[str]]:
    """Attacks that a dataset allows; one that a group brought in is left out with a note."""
    usable, notes = [], []
    for name, attack in chosen.items():
        try:
            with loading(f"attack {name!r}"):
                attack.check(dataset.num_classes)
            _check_sources(attack, models)
        except BenchError as error:
            if name in config.attacks:
                raise
            notes.append(f"{name} left out on {dataset.name}: {error}")
        else:
            usable.append(attack)
    return usable, notes


def _check_sources(attack: Attack, models: int) -> None:
    if attack.needs_source and models < 2:
        raise BenchError(f"{attack.name} needs two models or more; add one to --models.")


def _jobs(
    config: RunConfig,
    models: Models,
    dataset: Dataset,
    files: Mapping[str, Files],
    usable: Sequence[Attack],
    artefacts: Sequence[Artefact],
) -> Iterator[Job]:
    """All jobs on one dataset: the networks', then their controls, then transfers between them."""
    direct = [attack for attack in usable if not attack.needs_source]
    perturbations = [
        CLEAN,
        *(key for attack in direct for key in keys.attack_keys(config, attack, dataset)),
        *(key for artefact in artefacts for key in keys.artefact_keys(config, artefact, dataset)),
    ]
    split = dataset.test.subset(config.limit)
    networks = [
        _job(weights, dataset, split, perturbations)
        for model, options in models
        for weights in locate(config, model, options, dataset, files[model.name])
    ]
    yield from networks
    if controls := list(keys.control_keys(config, usable, dataset)):
        some = split.subset(full_range.VOLUMES)
        for network in networks:
            yield _job(network.weights, dataset, some, controls)
    for attack in usable:
        if attack.needs_source:
            yield from _transfers(networks, list(keys.attack_keys(config, attack, dataset)))


def _job(
    weights: Weights, dataset: Dataset, split: Split, perturbations: Sequence[PerturbationKey]
) -> Job:
    dataset_key = keys.dataset_key(dataset, split)
    cells = tuple(
        Cell(
            model=weights.model,
            checkpoint=weights.checkpoint,
            dataset=dataset_key,
            perturbation=perturbation,
        )
        for perturbation in perturbations
    )
    return Job(weights=weights, dataset=dataset, split=split, cells=cells)


def _transfers(networks: Sequence[Job], perturbations: Sequence[PerturbationKey]) -> Iterator[Job]:
    """Judge every network on volumes made on every network, itself included.

    Trained networks meet those of their own training seed; weights that the user brought meet all.
    """
    for target in networks:
        for source in (network.weights for network in networks):
            if None not in (source.seed, target.weights.seed) and (
                source.seed != target.weights.seed
            ):
                continue
            made_on = SourceKey(model=source.model, checkpoint=source.checkpoint)
            transferred = [keys.transferred(key, made_on) for key in perturbations]
            job = _job(target.weights, target.dataset, target.split, transferred)
            yield replace(job, source=source)
