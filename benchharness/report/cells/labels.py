"""Labels of models, datasets and perturbations: names, and what tells namesakes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchharness.store.carried import called
from benchharness.store.cells import CLEAN_FAMILY, OWN_WEIGHTS, precision

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from benchharness.store.cells import CheckpointKey, ModelKey, PerturbationKey
    from benchharness.store.records import Record

    Labels = dict[str, str]
    """By cell identity."""


def models(records: Sequence[Record]) -> Labels:
    """Label every model.

    Where one name was built or trained in several ways, the label says what differs; of several
    checkpoints of one training all but the newest show their digest.
    """
    suffixes = _distinguish(
        records,
        name=_called,
        group=lambda record: record.cell.dataset.digest,
        description=_training,
    )
    trainings = {
        record.identity: (
            _called(record) + suffixes[record.identity],
            record.cell.dataset.digest,
            record.cell.checkpoint.seed,
        )
        for record in records
    }
    newest = {trainings[record.identity]: record.cell.checkpoint.sha256 for record in records}
    labels: Labels = {}
    for record in records:
        training, digest = trainings[record.identity], record.cell.checkpoint.sha256
        older = "" if digest == newest[training] else f" @{(digest or 'untrained')[:8]}"
        labels[record.identity] = training[0] + older
    return labels


def _called(record: Record) -> str:
    """A model's name, and where its weights were carried from if they were."""
    return called(record.cell.model.name, record.cell.checkpoint.recipe)


def _training(record: Record) -> dict[str, Any]:
    return _made(record.cell.model, record.cell.checkpoint)


def _made(model: ModelKey, checkpoint: CheckpointKey) -> dict[str, Any]:
    """How a network was built and trained, most telling first."""
    return {
        "recipe": checkpoint.recipe_name or OWN_WEIGHTS,
        **dict(model.arguments),
        **dict(model.preprocessing),
        **dict(model.outputs),
        **{key: value for key, value in (checkpoint.recipe or ()) if key != "name"},
        "factory": model.factory,
    }


def datasets(records: Sequence[Record]) -> Labels:
    """Label every dataset: a subset says so, and two sets of one name show their digests."""

    def name(record: Record) -> str:
        key = record.cell.dataset
        subset = f" ({key.count} of {key.total})" if key.count < key.total else ""
        return f"{key.name}{subset}"

    return _labelled(
        records,
        name=name,
        group=lambda _: None,
        description=lambda record: {
            "data": record.cell.dataset.digest.partition(":")[2][:8],
            "volumes": record.cell.dataset.volumes[:8],
        },
    )


def perturbations(records: Sequence[Record]) -> Labels:
    """Label every perturbation; several parameters under one name show those that differ."""

    def name(record: Record) -> str:
        key = record.cell.perturbation
        narrow = f" {precision(key)}" if precision(key) else ""
        if key.source is not None:
            made_on = called(key.source.model.name, key.source.checkpoint.recipe)
            return f"{key.name}{narrow} from {made_on}"
        return CLEAN_FAMILY if key.kind == "none" else key.name + narrow

    return _labelled(
        records,
        name=name,
        group=lambda record: (record.cell.dataset.digest, record.cell.perturbation.severity),
        description=lambda record: {
            **_source(record.cell.perturbation),
            "version": record.cell.perturbation.version,
            "seed": record.cell.perturbation.seed,
            **dict(record.cell.perturbation.parameters),
        },
    )


def _source(key: PerturbationKey) -> dict[str, Any]:
    """How the network was made on which transferred volumes are; empty for others."""
    if key.source is None:
        return {}
    made = _made(key.source.model, key.source.checkpoint)
    return {name if name == "recipe" else f"source {name}": made[name] for name in made}


def _labelled(
    records: Sequence[Record],
    *,
    name: Callable[[Record], str],
    group: Callable[[Record], Hashable],
    description: Callable[[Record], Mapping[str, Any]],
) -> Labels:
    suffixes = _distinguish(records, name=name, group=group, description=description)
    return {record.identity: name(record) + suffixes[record.identity] for record in records}


def _distinguish(
    records: Sequence[Record],
    *,
    name: Callable[[Record], str],
    group: Callable[[Record], Hashable],
    description: Callable[[Record], Mapping[str, Any]],
) -> Labels:
    """Say what tells apart records that share a name within a group.

    Only the keys that are needed appear, earlier ones first: two trainings that differ in recipe
    and therefore in epochs are told apart by the recipe.

    Returns:
        For every record a suffix such as ` · quick` or ` (steps=20)`; empty where the name is
        enough.
    """
    suffixes: Labels = {}
    for shared in dict.fromkeys(name(record) for record in records):
        described = [(r, group(r), description(r)) for r in records if name(r) == shared]
        keys = _needed([(place, values) for _, place, values in described])
        for record, _, values in described:
            known = [key for key in keys if key in values]
            texts = [f"{key}={values[key]}" for key in known if key != "recipe"]
            recipe = f" · {values['recipe']}" if "recipe" in known else ""
            suffixes[record.identity] = recipe + (f" ({', '.join(texts)})" if texts else "")
    return suffixes


def _needed(described: Sequence[tuple[Hashable, Mapping[str, Any]]]) -> list[str]:
    """The keys without which two records of one group would look the same."""

    def kinds(keys: Sequence[str]) -> int:
        return len(
            {(group, *(repr(values.get(key)) for key in keys)) for group, values in described}
        )

    chosen: list[str] = []
    for key in dict.fromkeys(key for _, values in described for key in values):
        if kinds([*chosen, key]) > kinds(chosen):
            chosen.append(key)
    return chosen
