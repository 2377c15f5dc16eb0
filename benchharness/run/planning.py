"""From a `RunConfig` to a plan: names resolved, data and weights located, nothing run.

Whatever a user can get wrong is found here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchharness import artefacts, attacks, datasets, registry
from benchharness.attacks import full_range
from benchharness.disk import caches
from benchharness.errors import BenchError
from benchharness.networks.formats.programs import has_gradient
from benchharness.outside.containment import loading
from benchharness.run import carrying, keys, own_weights, recipe_axis
from benchharness.run import notes as notes_of
from benchharness.run.data import Data, Volumes
from benchharness.run.values import flag
from benchharness.store.cells import CLEAN, Cell, SourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.run.config import ModelOptions, RunConfig
    from benchharness.run.data import Limits
    from benchharness.run.weights import Weights
    from benchharness.store.cells import ModelKey, PerturbationKey
    from benchharness.store.outlines import Outline

    Models = Sequence[tuple[ModelKey, ModelOptions]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """Some cells of one network on one dataset, and the training of its weights if need be."""

    weights: Weights
    dataset: Dataset
    split: Split
    """The evaluated volumes: the test split, or a subset of it."""
    cells: tuple[Cell, ...]
    data: Data
    """How another process loads `dataset`."""
    limits: Limits
    """What `split` is of the test split."""
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
    outline: Outline | None = None
    """The whole that this is a share of; None where it is no share."""

    sources: Mapping[Data, Dataset] = field(default_factory=dict)
    """Datasets that networks are trained on, beside those of the jobs."""

    @property
    def datasets(self) -> dict[Data, Dataset]:
        """Everything that a worker may have to load."""
        return {**self.sources, **{job.data: job.dataset for job in self.jobs}}

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
    chosen = keys.models(config)
    models = chosen.models
    chosen_attacks = _attacks(config)
    chosen_artefacts = {
        name: artefacts.build(name) for name in registry.expand("artefacts", config.artefacts)
    }
    perturbations = _by_own_name(chosen_attacks, chosen_artefacts)
    notes: list[str] = [*chosen.notes]
    jobs: list[Job] = []
    own = own_weights.own_weights(config.checkpoint, chosen.names, chosen.files)
    loaded = _datasets(config)
    targets = {
        typed: Volumes.of(dataset, typed, config.data_root, config.preparation)
        for typed, dataset in loaded
    }
    sources = carrying.sources(config, targets)
    trained_on = sources or targets
    recipe_axis.check(config, (volumes.dataset for volumes in trained_on.values()))
    own_weights.check_datasets(own, ((typed, dataset.name) for typed, dataset in loaded))
    for typed, dataset in loaded:
        usable, left_out = _applicable(config, chosen_attacks, dataset, models)
        notes += [*dataset.notes, *notes_of.limit(config, dataset), *left_out]
        files = {
            key.name: own_weights.choose(own, key.name, (typed, dataset.name), config.seeds)
            for key, _ in models
        }
        located = carrying.every(config, models, targets[typed], files, sources)
        corrupting = list(chosen_artefacts.values())
        made = [*_jobs(config, located, targets[typed], usable, corrupting)]
        notes += [*notes_of.readings(located), *notes_of.outputs(located)]
        jobs += made
    networks = [job.weights for job in jobs]
    notes += [*notes_of.given(config, networks), *notes_of.unrepeated(config, networks)]
    return Plan(
        jobs=tuple(jobs),
        perturbations=perturbations,
        notes=tuple(notes),
        sources={volumes.data: volumes.dataset for volumes in sources.values()},
    )


def _datasets(config: RunConfig) -> list[tuple[str, Dataset]]:
    """Every dataset, with what was typed for it."""
    found = [
        (typed, datasets.load(typed, config.data_root, config.preparation))
        for typed in _dataset_names(config)
    ]
    for _, dataset in found:
        keys.check_folder_name("dataset", dataset.name)
    return found


def _dataset_names(config: RunConfig) -> tuple[str, ...]:
    names = registry.expand("datasets", config.datasets)
    if config.window is None:
        datasets.refuse_without_window(names)
    if config.preparation is None:
        return names
    typed = {option for option in datasets.OPTIONS if getattr(config, option) is not None}
    idle = typed - {option for name in names for option in datasets.options_of(name)}
    if idle:
        flags = [flag(option) for option in datasets.OPTIONS if option in idle]
        raise BenchError(
            f"{', '.join(flags)} {'is' if len(flags) == 1 else 'are'} for your own volumes "
            f"(--window, --modality and --classes for an .npz too), got {', '.join(names)}. Take "
            f"{'it' if len(flags) == 1 else 'them'} out, or name such a folder or CSV."
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
    config: RunConfig, chosen: Mapping[str, Attack], dataset: Dataset, models: Models
) -> tuple[list[Attack], list[str]]:
    """Attacks that a dataset allows; one that a group brought in is left out with a note."""
    usable, notes = [], []
    blind = [key.name for key, _ in models if not has_gradient(key)]
    unseen: list[str] = []
    for name, attack in chosen.items():
        try:
            with loading(f"attack {name!r}"):
                attack.check(dataset.num_classes)
            _check_sources(attack, models, blind, config.recipes)
        except BenchError as error:
            if name in config.attacks:
                raise
            notes.append(f"{name} left out on {dataset.name}: {error}")
            continue
        usable.append(attack)
        if blind and _sees_gradients(attack):
            if name in config.attacks:
                raise BenchError(
                    f"{name} needs a gradient, and {blind[0]} is a black box: an ONNX file gives "
                    "logits alone. Use square3d, transfer from another model or artefacts, or "
                    "bring the weights with their network."
                )
            unseen.append(name)
    if unseen:
        notes.append(
            f"left out on {dataset.name} for {', '.join(blind)}, since an ONNX file gives no "
            f"gradient: {', '.join(unseen)}"
        )
    return usable, notes


def _sees_gradients(attack: Attack) -> bool:
    """Whether an attack needs the gradient of the network that it is judged on."""
    return attack.access in ("white box", "both")


def _check_sources(
    attack: Attack, models: Models, blind: Sequence[str], recipes: Sequence[str]
) -> None:
    if not attack.needs_source:
        return
    if sum(len(options.zoo or recipes) or 1 for _, options in models) < 2:
        raise BenchError(f"{attack.name} needs two models or more; add one to --models.")
    if len(blind) == len(models):
        raise BenchError(
            f"{attack.name} needs a model with a gradient, and all of these are ONNX files; add "
            "another to --models."
        )


def _jobs(
    config: RunConfig,
    located: Sequence[Weights],
    volumes: Volumes,
    usable: Sequence[Attack],
    artefacts: Sequence[Artefact],
) -> Iterator[Job]:
    """All jobs on one dataset: the networks', then their controls, then transfers between them."""
    dataset = volumes.dataset
    of_artefacts = [
        key for artefact in artefacts for key in keys.artefact_keys(config, artefact, dataset)
    ]
    whole = volumes.limited(config.limit)
    # The same for every network, and a user's code is asked for them.
    made = [(attack, tuple(keys.attack_keys(config, attack, dataset))) for attack in usable]
    networks: list[Job] = []
    for weights in located:
        seen = has_gradient(weights.model)
        of_attacks = [
            key
            for attack, severities in made
            if not attack.needs_source and (seen or not _sees_gradients(attack))
            for key in severities
        ]
        networks.append(_job(weights, whole, [CLEAN, *of_attacks, *of_artefacts]))
    yield from networks
    if controls := list(keys.control_keys(config, usable, dataset)):
        some = whole.limited(full_range.VOLUMES)
        for network in networks:
            if has_gradient(network.weights.model):
                yield _job(network.weights, some, controls)
    for attack, severities in made:
        if attack.needs_source:
            yield from _transfers(networks, whole, severities)


def _job(weights: Weights, volumes: Volumes, perturbations: Sequence[PerturbationKey]) -> Job:
    dataset = keys.dataset_key(volumes.dataset, volumes.split)
    model, checkpoint = weights.model, weights.checkpoint
    cells = tuple(
        Cell(model=model, checkpoint=checkpoint, dataset=dataset, perturbation=perturbation)
        for perturbation in perturbations
    )
    return Job(
        weights=weights,
        dataset=volumes.dataset,
        split=volumes.split,
        cells=cells,
        data=volumes.data,
        limits=volumes.limits,
    )


def _transfers(
    networks: Sequence[Job], volumes: Volumes, perturbations: Sequence[PerturbationKey]
) -> Iterator[Job]:
    """Judge every network on volumes made on every network, itself included.

    Trained networks meet those of their own training seed; weights that the user brought meet all.
    """
    for target in networks:
        for source in (network.weights for network in networks):
            if not has_gradient(source.model):
                continue
            if None not in (source.seed, target.weights.seed) and (
                source.seed != target.weights.seed
            ):
                continue
            made_on = SourceKey(model=source.model, checkpoint=source.checkpoint)
            transferred = [keys.transferred(key, made_on) for key in perturbations]
            yield replace(_job(target.weights, volumes, transferred), source=source)
