"""From the names of a config to the keys that cells are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import registry
from benchharness.artefacts.corruption import implementation
from benchharness.attacks import full_range, probe
from benchharness.attacks.core.norms import BUDGETS, norm_named
from benchharness.canonical import digest, pairs
from benchharness.errors import BenchError
from benchharness.networks.formats import sources
from benchharness.networks.formats.sources import Source
from benchharness.networks.zoo import is_name
from benchharness.outside.containment import loading
from benchharness.run import zoo
from benchharness.run.config import ModelOptions
from benchharness.run.own_weights import stranger
from benchharness.store.cells import (
    ACCURACY_ONLY,
    CONTROL_FAMILY,
    FLOAT32,
    PRECISION,
    TRANSFER_FAMILY,
    DatasetKey,
    ModelKey,
    PerturbationKey,
    SourceKey,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.run.config import RunConfig

_LONGEST_NAME = 160
"""Bytes of a name: a file's may have 255, and ours add a recipe, a seed, a digest and a kind."""

CONTROLS: tuple[Attack, ...] = (full_range.FullRange(), probe.Probe())
"""What every network gets as well where its gradient is attacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The models of a run."""

    models: tuple[tuple[ModelKey, ModelOptions], ...]
    """Each with what the config says of it; the keys have no preprocessing yet."""
    names: Mapping[str, str]
    """The name of every model, by what it may be called: that name, or as typed."""
    files: Mapping[str, Path]
    """Names of those that are a file or folder, and where it is."""
    notes: tuple[str, ...]
    """What the user should know of these files, a line each."""


def models(config: RunConfig) -> Chosen:
    """Resolve the models of a run.

    Raises:
        BenchError: For an unknown model, one that cannot be imported, two of one name, or options
            for a model that is not among them.
    """
    options = dict(config.model_options)
    of_zoo = zoo.asked(config)
    keys: dict[str, ModelKey] = {}
    names: dict[str, str] = {}
    files: dict[str, Path] = {}
    notes: list[str] = []
    for typed, source in _sources(config, options, of_zoo):
        key = source.model
        registry.import_target(key.factory)
        check_folder_name("model", key.name)
        if key.name in keys:
            raise BenchError(
                f"two models are called {key.name!r} ({keys[key.name].factory} and "
                f"{key.factory}). Rename one factory, or run them into two --out folders."
            )
        said = options.get(key.name, ModelOptions())
        given = dict(key.arguments) | dict(said.arguments)
        keys[key.name] = replace(key, arguments=pairs(given))
        names |= {typed: key.name, key.name: key.name}
        notes += source.notes
        if source.path is not None:
            files[key.name] = source.path
        if said.preprocessing is None and source.preprocessing is not None:
            options[key.name] = replace(said, preprocessing=source.preprocessing)
    for option, of_option in (
        ("[model.NAME] of the config", options),
        ("--init", [name for name, _ in config.init if name is not None]),
        ("--outputs", [name for name, _ in config.outputs if name is not None]),
    ):
        _refuse_strangers(option, of_option, keys)
    return Chosen(
        models=tuple(
            (key, _options(config, options.get(name), name, of_zoo)) for name, key in keys.items()
        ),
        names=names,
        files=files,
        notes=tuple(notes),
    )


def _options(
    config: RunConfig, said: ModelOptions | None, name: str, of_zoo: Mapping[str, tuple[str, ...]]
) -> ModelOptions:
    """What the config says of a model, and `--outputs` for it or for every model."""
    options, flags = said or ModelOptions(), dict(config.outputs)
    outputs = flags.get(name, flags.get(None, options.outputs))
    return replace(options, outputs=outputs, zoo=of_zoo.get(name, ()))


def _sources(
    config: RunConfig,
    options: Mapping[str, ModelOptions],
    of_zoo: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[str, Source]]:
    """Every model, with what was typed for it: named ones, then those handed over as objects."""
    first = {names[0]: names for names in of_zoo.values()}
    for typed in registry.expand("models", config.models):
        if typed in first:
            yield typed, Source(model=zoo.key(first[typed], config), path=None)
        elif not is_name(typed):
            yield typed, _source(config, typed, options)
    for given in config.given:
        key = ModelKey(name=given.name, factory=given.factory, arguments=given.arguments)
        yield given.name, Source(model=key, path=None)


def _source(config: RunConfig, typed: str, options: Mapping[str, ModelOptions]) -> Source:
    """What a model is, whether it is a file, a folder or a name of the registry."""
    name = sources.name_of(typed)
    if name is None:
        entry = registry.resolve("models", typed)
        return Source(model=ModelKey(name=entry.name, factory=entry.target), path=None)
    said = options.get(name, ModelOptions())
    if said.arguments and not typed.startswith(("hf:", "timm_3d:")):
        raise BenchError(
            f"[model.{name}] sets arguments, and {typed} is built as its file says. Take them out."
        )
    mapping = said.preprocessing is None
    found = sources.find(typed, trust=config.trust, window=config.window, mapping=mapping)
    assert found is not None
    return found


def check_folder_name(kind: str, name: str) -> None:
    """Refuse a name that the folders and files made for it could not have.

    Raises:
        BenchError: When it is too long, or no text in this system's encoding.
    """
    if any("\ud800" <= sign <= "\udfff" for sign in name):
        raise BenchError(
            f"the {kind} name {name!r} is no text in this system's encoding. Set LANG=C.UTF-8, or "
            "rename the file."
        )
    size = len(name.encode())
    if size > _LONGEST_NAME:
        raise BenchError(
            f"the {kind} name {name[:20]!r}… has {size} bytes, and files are named after it, which "
            f"leaves {_LONGEST_NAME}. Rename it."
        )


def _refuse_strangers(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise stranger(option, "model", name, known)


def dataset_key(dataset: Dataset, split: Split) -> DatasetKey:
    """The key of a dataset's test split, or of a subset of it."""
    return DatasetKey(
        name=dataset.name,
        digest=dataset.digest,
        split="test",
        volumes=digest(split.ids),
        count=len(split),
        total=len(dataset.test),
        modality=dataset.modality,
    )


def attack_keys(config: RunConfig, attack: Attack, dataset: Dataset) -> Iterator[PerturbationKey]:
    """A key for every severity of an attack, ascending."""
    severities = sorted(config.counts if norm_named(attack.norm).counts else config.eps)
    found = _attack_keys(attack, dataset, severities, attack.norm, config.perturbation_seed)
    for place, key in enumerate(found):
        if config.accuracy_only and not attack.needs_source:
            # What is left out depends on the smaller severities, and so do the numbers.
            settings = {**dict(key.parameters), ACCURACY_ONLY: tuple(severities[:place])}
            key = replace(key, parameters=pairs(settings))
        if config.precision != FLOAT32 and attack.uses_gradient:
            settings = {**dict(key.parameters), PRECISION: config.precision}
            key = replace(key, parameters=pairs(settings))
        yield key


def transferred(key: PerturbationKey, source: SourceKey) -> PerturbationKey:
    """The key of an attack whose volumes are made on another network."""
    return replace(key, family=TRANSFER_FAMILY, source=source)


def control_keys(
    config: RunConfig, usable: Iterable[Attack], dataset: Dataset
) -> Iterator[PerturbationKey]:
    """The keys of the controls that some attacks need, which no perturbation seed changes.

    None where no gradient is asked for; the probe at every ε where one is followed within a ball.
    """
    followed = {a.norm for a in usable if a.follows_judged}
    if not followed:
        return
    for control in CONTROLS:
        everywhere = isinstance(control, full_range.FullRange)
        budgets = sorted(config.eps) if followed & BUDGETS.keys() else []
        severities = [full_range.EPSILON] if everywhere else [eps for eps in budgets if eps > 0]
        yield from _attack_keys(control, dataset, severities, CONTROL_FAMILY, seed=0)


def _attack_keys(
    attack: Attack, dataset: Dataset, severities: Sequence[float], family: str, seed: int
) -> list[PerturbationKey]:
    with loading(f"attack {attack.name!r}"):
        resolved = [attack.resolved(dataset.num_classes, severity) for severity in severities]
    return [
        PerturbationKey(
            kind="attack",
            name=attack.name,
            version=attack.version,
            family=family,
            parameters=parameters,
            severity=severity,
            seed=seed,
        )
        for severity, parameters in zip(severities, resolved, strict=True)
    ]


def artefact_keys(
    config: RunConfig, artefact: Artefact, dataset: Dataset
) -> Iterator[PerturbationKey]:
    """A key for every level of an artefact, in the config's order."""
    # The batched implementations ignore the spacing.
    fast = config.fast_artefacts and dataset.test.spacing is None
    for level in config.severities:
        with loading(f"artefact {artefact.name!r}"):
            parameters = artefact.identity(level, implementation(artefact, fast=fast))
        yield PerturbationKey(
            kind="artefact",
            name=artefact.name,
            version=artefact.version,
            family=artefact.group,
            parameters=parameters,
            severity=level,
            seed=config.perturbation_seed,
        )
