"""From a `RunConfig` to cells: names are resolved, data and weights located, nothing is run.

Whatever a user can get wrong is found here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import artefacts, attacks, caches, datasets, registry
from benchharness.artefacts.corruption import implementation
from benchharness.attacks import full_range
from benchharness.attacks.core.norms import norm_named
from benchharness.canonical import digest, pairs
from benchharness.disk import file_sha256
from benchharness.errors import BenchError
from benchharness.networks import building, checkpoints
from benchharness.networks.preprocessing import Preprocessing
from benchharness.run.config import ModelOptions
from benchharness.store.cells import (
    ACCURACY_ONLY,
    CLEAN,
    CONTROL_FAMILY,
    TRANSFER_FAMILY,
    Cell,
    CheckpointKey,
    DatasetKey,
    ModelKey,
    PerturbationKey,
    SourceKey,
)
from benchharness.training import initialisation, recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.run.config import RunConfig
    from benchharness.training.initialisation import InitialWeights
    from benchharness.training.recipes import Recipe

CONTROL = full_range.FullRange()
"""What every checkpoint that is attacked by its gradient is asked once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """One network on one dataset, and every cell to be measured with it."""

    model: ModelKey
    dataset: Dataset
    split: Split
    """The evaluated volumes: the test split, or a subset of it."""
    weights: Path
    """Where the weights are, or will be."""
    recipe: Recipe | None
    """How to train them; None for weights that the user brought."""
    seed: int | None
    """Training seed; None for weights that the user brought."""
    cells: tuple[Cell, ...]
    source: Work | None = None
    """Whose network the volumes are made on, where they are transferred from another."""
    initial: InitialWeights | None = None
    """Weights that their training begins from; None where all are drawn."""

    @property
    def to_train(self) -> bool:
        """Whether the weights are yet to be trained."""
        return self.cells[0].checkpoint.sha256 is None

    @property
    def checkpoint(self) -> CheckpointKey:
        """The weights as its cells know them."""
        return self.cells[0].checkpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Everything that a run will do."""

    work: tuple[Work, ...]
    perturbations: Mapping[str, Attack | Artefact]
    """By name; clean cells have none."""
    notes: tuple[str, ...]
    """What was left out and why, a line each."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they run."""
        return tuple(cell for work in self.work for cell in work.cells)


def plan(config: RunConfig) -> Plan:
    """Resolve a config into cells.

    Raises:
        BenchError: For an unknown name, unusable data, a checkpoint that is absent or does not
            fit, a device that is not there, or a perturbation that a dataset does not allow.
    """
    caches.limit()  # A wrong BENCH_CACHE_GIB is refused here, not after the training.
    models = _models(config)
    chosen_attacks = _attacks(config)
    chosen_artefacts = {
        name: artefacts.build(name) for name in registry.expand("artefacts", config.artefacts)
    }
    _refuse_shared_names(chosen_attacks, chosen_artefacts)
    notes: list[str] = []
    work: list[Work] = []
    for dataset_name in _dataset_names(config):
        dataset = datasets.load(dataset_name, config.data_root, config.preparation)
        usable, skipped = _applicable(config, chosen_attacks, dataset, len(models))
        notes += [*dataset.notes, *skipped]
        perturbations = (
            CLEAN,
            *_attack_keys(config, usable, dataset),
            *_artefact_keys(config, chosen_artefacts, dataset),
        )
        attacked_by_gradient = any(attack.access == "white box" for attack in usable.values())
        networks = [
            part for model in models for part in _work(config, model, dataset, perturbations)
        ]
        work += networks
        if attacked_by_gradient:
            work += [_control(network) for network in networks]
        for attack in usable.values():
            if attack.needs_source:
                work += _transfers(config, attack, networks)
    perturbations_by_name: dict[str, Attack | Artefact] = {
        **chosen_attacks,
        **chosen_artefacts,
        CONTROL.name: CONTROL,
    }
    return Plan(work=tuple(work), perturbations=perturbations_by_name, notes=tuple(notes))


def _dataset_names(config: RunConfig) -> tuple[str, ...]:
    names = registry.expand("datasets", config.datasets)
    if config.preparation is not None and not any(map(datasets.is_prepared, names)):
        raise BenchError(
            "--size, --spacing, --window and --modality are for a folder or a CSV of volumes, got "
            f"{', '.join(names)}. Take them out, or name such a folder."
        )
    return names


def _models(config: RunConfig) -> list[tuple[ModelKey, ModelOptions]]:
    options = dict(config.model_options)
    keys: dict[str, ModelKey] = {}
    for typed in registry.expand("models", config.models):
        entry = registry.resolve("models", typed)
        registry.import_target(entry.target)
        if entry.name in keys:
            raise BenchError(
                f"two models are called {entry.name!r} ({keys[entry.name].factory} and "
                f"{entry.target}). Rename one factory, or run them into two --out folders."
            )
        arguments = options.get(entry.name, ModelOptions()).arguments
        keys[entry.name] = ModelKey(name=entry.name, factory=entry.target, arguments=arguments)
    for what, names in (
        ("[model.NAME] of the config", options),
        ("--checkpoint", {name.partition("@")[0]: path for name, path in config.checkpoints}),
        ("--init", {name: path for name, path in config.init if name is not None}),
    ):
        for name in names:
            if name not in keys:
                raise BenchError(
                    f"{what} speaks of {name!r}, which is not among the models of this run "
                    f"({', '.join(keys)}). Add it to --models or take it out."
                )
    return [(key, options.get(name, ModelOptions())) for name, key in keys.items()]


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


def _refuse_shared_names(*chosen: Mapping[str, object]) -> None:
    first, second = chosen
    for name in first.keys() & second.keys():
        raise BenchError(f"{name!r} names an attack and an artefact. Rename one of the plug-ins.")


def _applicable(
    config: RunConfig, chosen: Mapping[str, Attack], dataset: Dataset, models: int
) -> tuple[dict[str, Attack], list[str]]:
    """Attacks that a dataset allows; one that a group brought in is left out with a note."""
    usable, notes = {}, []
    for name, attack in chosen.items():
        try:
            attack.check(dataset.num_classes)
            _check_sources(attack, models)
        except BenchError as error:
            if name in config.attacks:
                raise
            notes.append(f"{name} left out on {dataset.name}: {error}")
        else:
            usable[name] = attack
    return usable, notes


def _check_sources(attack: Attack, models: int) -> None:
    if attack.needs_source and models < 2:
        raise BenchError(f"{attack.name} needs two models or more; add one to --models.")


def _attack_keys(
    config: RunConfig, chosen: Mapping[str, Attack], dataset: Dataset
) -> Iterator[PerturbationKey]:
    for attack in chosen.values():
        if attack.needs_source:
            continue
        grid = _grid(config, attack)
        for place, severity in enumerate(grid):
            key = _attack_key(config, attack, dataset, severity)
            if config.accuracy_only:
                # What is left out depends on the smaller severities, and so do the numbers.
                settings = {**dict(key.parameters), ACCURACY_ONLY: grid[:place]}
                key = replace(key, parameters=pairs(settings))
            yield key


def _grid(config: RunConfig, attack: Attack) -> tuple[float | int, ...]:
    """Severities of an attack: intensities or counts, as its norm has it, ascending."""
    return tuple(sorted(config.counts if norm_named(attack.norm).counts else config.eps))


def _attack_key(
    config: RunConfig, attack: Attack, dataset: Dataset, severity: float
) -> PerturbationKey:
    return PerturbationKey(
        kind="attack",
        name=attack.name,
        version=attack.version,
        family=attack.norm,
        parameters=attack.resolved(dataset.num_classes, severity),
        severity=severity,
        seed=config.perturbation_seed,
    )


def _control(network: Work) -> Work:
    """The cell that tells whether a network hides its gradient, on volumes of its own."""
    split = network.dataset.test.subset(full_range.VOLUMES)
    key = PerturbationKey(
        kind="attack",
        name=CONTROL.name,
        version=CONTROL.version,
        family=CONTROL_FAMILY,
        parameters=CONTROL.resolved(network.dataset.num_classes, full_range.EPSILON),
        severity=full_range.EPSILON,
        seed=0,
    )
    cell = replace(network.cells[0], dataset=_dataset_key(network.dataset, split), perturbation=key)
    return replace(network, split=split, cells=(cell,))


def _transfers(config: RunConfig, attack: Attack, networks: Sequence[Work]) -> Iterator[Work]:
    """Every network judged on what is made on every network, itself among them.

    Trained networks meet those of their own training seed, brought ones all.
    """
    for target in networks:
        for source in networks:
            if None not in (source.seed, target.seed) and source.seed != target.seed:
                continue
            cell = target.cells[0]
            made_on = SourceKey(model=source.model, checkpoint=source.checkpoint)
            keys = (
                _attack_key(config, attack, target.dataset, severity)
                for severity in _grid(config, attack)
            )
            cells = (
                replace(cell, perturbation=replace(key, family=TRANSFER_FAMILY, source=made_on))
                for key in keys
            )
            yield replace(target, cells=tuple(cells), source=source)


def _dataset_key(dataset: Dataset, split: Split) -> DatasetKey:
    return DatasetKey(
        name=dataset.name,
        digest=dataset.digest,
        split="test",
        volumes=digest(split.ids),
        count=len(split),
        total=len(dataset.test),
        modality=dataset.modality,
    )


def _artefact_keys(
    config: RunConfig, chosen: Mapping[str, Artefact], dataset: Dataset
) -> Iterator[PerturbationKey]:
    # The batched implementations know no millimetres.
    fast = config.fast_artefacts and dataset.test.spacing is None
    for artefact in chosen.values():
        for level in config.severities:
            yield PerturbationKey(
                kind="artefact",
                name=artefact.name,
                version=artefact.version,
                family=artefact.group,
                parameters=artefact.identity(level, implementation(artefact, fast=fast)),
                severity=level,
                seed=config.perturbation_seed,
            )


def _work(
    config: RunConfig,
    model: tuple[ModelKey, ModelOptions],
    dataset: Dataset,
    perturbations: tuple[PerturbationKey, ...],
) -> Iterator[Work]:
    key, options = model
    split = dataset.test.subset(config.limit)
    dataset_key = _dataset_key(dataset, split)
    for located in _weights(config, key, options, dataset):
        cells = tuple(
            Cell(
                model=located.model,
                checkpoint=located.checkpoint,
                dataset=dataset_key,
                perturbation=perturbation,
            )
            for perturbation in perturbations
        )
        yield Work(
            model=located.model,
            dataset=dataset,
            split=split,
            weights=located.path,
            recipe=located.recipe,
            seed=located.checkpoint.seed,
            cells=cells,
            initial=located.initial,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Located:
    model: ModelKey
    checkpoint: CheckpointKey
    path: Path
    recipe: Recipe | None
    initial: InitialWeights | None = None


def _weights(
    config: RunConfig, key: ModelKey, options: ModelOptions, dataset: Dataset
) -> Iterator[_Located]:
    """Find the weights of a model on a dataset: brought, trained already, or to be trained."""
    brought = dict(config.checkpoints)
    path = brought.get(f"{key.name}@{dataset.name}", brought.get(key.name))
    if path is not None:
        if key.name in dict(config.init):
            raise BenchError(
                f"--checkpoint {key.name}={path} is measured as it is, and --init {key.name}=… is "
                "for training. Keep one of the two."
            )
        model = _preprocessed(key, options, Preprocessing())
        checkpoints.load_classifier(
            model,
            path,
            num_classes=dataset.num_classes,
            in_channels=dataset.in_channels,
            device="cpu",
        )
        sha256 = file_sha256(path, what="checkpoint")
        checkpoint = CheckpointKey(recipe=None, seed=None, sha256=sha256)
        yield _Located(model=model, checkpoint=checkpoint, path=path, recipe=None)
        return
    recipe = recipes.find(config.recipe or dataset.default_recipe)
    model = _preprocessed(key, options, recipe.preprocessing(dataset.modality))
    initial = _initial(config, key.name)
    settings = recipe.to_pairs() if initial is None else initial.extend(recipe.to_pairs())
    for seed in config.seeds:
        directory = checkpoints.folder(
            config.out / "checkpoints", model, dataset.name, dataset.digest, settings, seed
        )
        card = checkpoints.read_card(directory)
        if card is None:
            if not config.train:
                raise BenchError(
                    f"no checkpoint of {model.name} on {dataset.name} (recipe {recipe.name}, seed "
                    f"{seed}) in {config.out}. Drop --no-train to train it, or pass "
                    f"--checkpoint {model.name}=PATH."
                )
            building.check_arguments(model)
            if initial is not None:
                _try_initial(initial, model, dataset)
        yield _Located(
            model=model,
            checkpoint=CheckpointKey(
                recipe=settings, seed=seed, sha256=None if card is None else card.sha256
            ),
            path=directory / checkpoints.WEIGHTS,
            recipe=recipe,
            initial=initial,
        )


def _initial(config: RunConfig, model: str) -> InitialWeights | None:
    """What a model's training begins from: its own file before the one for every model."""
    given = dict(config.init)
    path = given.get(model, given.get(None))
    return None if path is None else initialisation.find(path, config.init_method)


def _try_initial(initial: InitialWeights, model: ModelKey, dataset: Dataset) -> None:
    """Take initial weights over once, so that a misfit is found before anything is written."""
    network = building.build_network(
        model, num_classes=dataset.num_classes, in_channels=dataset.in_channels
    )
    initialisation.apply(initial, network, model.name)


def _preprocessed(key: ModelKey, options: ModelOptions, default: Preprocessing) -> ModelKey:
    """The model with its preprocessing: the config's, else what its training asks for."""
    if options.preprocessing is None:
        settings = default.to_pairs()
    else:
        settings = Preprocessing.checked(dict(options.preprocessing)).to_pairs()
    return ModelKey(
        name=key.name, factory=key.factory, arguments=key.arguments, preprocessing=settings
    )
