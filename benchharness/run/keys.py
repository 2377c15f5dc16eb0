"""From the names of a config to the keys that cells are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness import registry
from benchharness.artefacts.corruption import implementation
from benchharness.attacks import full_range, probe
from benchharness.attacks.core.norms import BUDGETS, norm_named
from benchharness.canonical import digest, pairs
from benchharness.errors import BenchError
from benchharness.outside.containment import loading
from benchharness.run.config import ModelOptions
from benchharness.run.own_weights import stranger
from benchharness.store.cells import (
    ACCURACY_ONLY,
    CONTROL_FAMILY,
    TRANSFER_FAMILY,
    DatasetKey,
    ModelKey,
    PerturbationKey,
    SourceKey,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.run.config import RunConfig

_LONGEST_NAME = 160
"""Bytes of a name: a file's may have 255, and ours add a recipe, a seed, a digest and a kind."""

CONTROLS: tuple[Attack, ...] = (full_range.FullRange(), probe.Probe())
"""What every network gets as well where its gradient is attacked."""


def models(config: RunConfig) -> list[tuple[ModelKey, ModelOptions]]:
    """Each model with what the config says of it; the keys have no preprocessing yet.

    Raises:
        BenchError: For an unknown model, one that cannot be imported, two of one name, or options
            for a model that is not among them.
    """
    options = dict(config.model_options)
    keys: dict[str, ModelKey] = {}
    for entry in (registry.resolve("models", typed) for typed in models_typed(config)):
        registry.import_target(entry.target)
        check_folder_name("model", entry.name)
        if entry.name in keys:
            raise BenchError(
                f"two models are called {entry.name!r} ({keys[entry.name].factory} and "
                f"{entry.target}). Rename one factory, or run them into two --out folders."
            )
        arguments = options.get(entry.name, ModelOptions()).arguments
        keys[entry.name] = ModelKey(name=entry.name, factory=entry.target, arguments=arguments)
    for option, names in (
        ("[model.NAME] of the config", options),
        ("--init", [name for name, _ in config.init if name is not None]),
    ):
        _refuse_strangers(option, names, keys)
    return [(key, options.get(name, ModelOptions())) for name, key in keys.items()]


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


def models_typed(config: RunConfig) -> tuple[str, ...]:
    """The models as they were typed, groups replaced by their members."""
    return registry.expand("models", config.models)


def model_names(config: RunConfig) -> dict[str, str]:
    """The name of every model of the run, by what it may be called: that name, or as typed."""
    typed = {text: registry.resolve("models", text).name for text in models_typed(config)}
    return typed | {name: name for name in typed.values()}


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
    for place, severity in enumerate(severities):
        key = _attack_key(attack, dataset, severity, attack.norm, config.perturbation_seed)
        if config.accuracy_only and not attack.needs_source:
            # What is left out depends on the smaller severities, and so do the numbers.
            settings = {**dict(key.parameters), ACCURACY_ONLY: tuple(severities[:place])}
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
    followed = {a.norm for a in usable if a.uses_gradient and not a.needs_source}
    if not followed:
        return
    for control in CONTROLS:
        everywhere = isinstance(control, full_range.FullRange)
        budgets = sorted(config.eps) if followed & BUDGETS.keys() else []
        for severity in [full_range.EPSILON] if everywhere else budgets:
            if severity > 0:
                yield _attack_key(control, dataset, severity, CONTROL_FAMILY, seed=0)


def _attack_key(
    attack: Attack, dataset: Dataset, severity: float, family: str, seed: int
) -> PerturbationKey:
    with loading(f"attack {attack.name!r}"):
        parameters = attack.resolved(dataset.num_classes, severity)
    return PerturbationKey(
        kind="attack",
        name=attack.name,
        version=attack.version,
        family=family,
        parameters=parameters,
        severity=severity,
        seed=seed,
    )


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
