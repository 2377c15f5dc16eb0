"""Models that are named with a recipe, such as `medvit3d_n@quick`: checkpoints of the zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.networks import zoo
from benchharness.run.values import as_typed
from benchharness.run.weights import Weights
from benchharness.store.cells import CheckpointKey, ModelKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchharness.datasets import Dataset
    from benchharness.networks.zoo import Entry
    from benchharness.run.config import RunConfig


def asked(config: RunConfig) -> Mapping[str, tuple[str, ...]]:
    """The names of the zoo in a config, by the model that they are of.

    Raises:
        BenchError: When an option is for a model that is measured as it was trained.
    """
    found: dict[str, list[str]] = {}
    for typed in filter(zoo.is_name, config.models):
        found.setdefault(typed.partition("@")[0], []).append(typed)
    for option, of_option, remedy in (
        ("--models", config.models, "Measure the one you train into another --out."),
        ("--checkpoint", (typed for typed, _ in config.checkpoint), "Leave it out."),
        ("--init", (model for model, _ in config.init), "Leave it out."),
        ("--outputs", (model for model, _ in config.outputs), "Leave it out."),
        ("[model.NAME] of the config", (name for name, _ in config.model_options), "Leave it out."),
    ):
        _refuse(option, of_option, found, remedy)
    if config.recipes and found and len(found) == len({*map(_model, config.models)}):
        recipes = as_typed(config.recipes)
        raise BenchError(
            f"--recipes {recipes} is for what is trained, and {as_typed(config.models)} comes "
            f"from the zoo with its recipe. Leave --recipes out, or name the model alone."
        )
    return {model: tuple(names) for model, names in found.items()}


def _model(typed: str) -> str:
    return typed.partition("@")[0] if zoo.is_name(typed) else typed


def _refuse(
    option: str, given: Iterable[str | None], found: Mapping[str, Sequence[str]], remedy: str
) -> None:
    for typed in given:
        model = (typed or "").partition("@")[0].partition("#")[0]
        if model in found and not (option == "--models" and zoo.is_name(typed or "")):
            raise BenchError(
                f"{option} names {typed} beside {found[model][0]} of the zoo, which is measured as "
                f"it was trained. {remedy}"
            )


def key(names: Sequence[str], config: RunConfig) -> ModelKey:
    """The model that some names of the zoo are of, without preprocessing.

    Raises:
        BenchError: When the zoo has no such checkpoint.
    """
    first, *_ = [zoo.find(name, config.zoo)[0] for name in names]
    made = first.card.key
    return ModelKey(name=made.name, factory=made.factory, arguments=made.arguments)


def locate(config: RunConfig, names: Iterable[str], dataset: Dataset) -> Iterator[Weights]:
    """The weights of each name and training seed on a dataset.

    They are those of the checkpoint as it was trained, so a cell has one identity whether its
    network was trained here or comes from the zoo.

    Raises:
        BenchError: When the zoo lacks one, or a file is absent or another one.
    """
    for name in names:
        known = zoo.find(name, config.zoo)
        own = {entry.card.seed: entry for entry in known if _is_on(entry, dataset)}
        if not own:
            raise _other_data(name, known, dataset)
        for seed in config.seeds:
            if seed not in own:
                seeds = as_typed(tuple(sorted(own)))
                raise BenchError(
                    f"the zoo has {name} on {dataset.name} of training seeds {seeds}, got {seed}. "
                    f"Type --seeds {seeds}."
                )
            yield _weights(own[seed], config)


def _is_on(entry: Entry, dataset: Dataset) -> bool:
    return entry.card.dataset_digest == dataset.digest


def _other_data(name: str, known: Sequence[Entry], dataset: Dataset) -> BenchError:
    model, _, recipe = name.partition("@")
    others = dict.fromkeys(entry.card.dataset for entry in known)
    train = f"train it: --models {model} --recipes {recipe}"
    if dataset.name in others:
        return BenchError(
            f"the zoo's {name} was trained on other volumes called {dataset.name}. Name the "
            f"published ones, or {train}."
        )
    return BenchError(
        f"the zoo has no {name} on {dataset.name}, only on {', '.join(others)}. Type --datasets "
        f"{next(iter(others))}, or {train}."
    )


def _weights(entry: Entry, config: RunConfig) -> Weights:
    path = zoo.located(entry, config.zoo)
    if path is None:
        raise BenchError(
            f"the weights of {entry.name} on {entry.card.dataset} (seed {entry.card.seed}) are not "
            f"here: {entry.file}. Type 'bench zoo get {entry.name}', or name their folder with "
            "--zoo or BENCH_ZOO."
        )
    card = entry.card
    return Weights(
        model=card.key,
        checkpoint=CheckpointKey(recipe=card.settings, seed=card.seed, sha256=card.sha256),
        path=path,
        reading=f"{entry.name} of the zoo",
    )
