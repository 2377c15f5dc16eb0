"""Weights that come from a source to a target: every step of the way, as trainings to be done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import datasets, registry
from benchharness.canonical import pairs
from benchharness.errors import BenchError
from benchharness.networks import per_volume
from benchharness.run import locating
from benchharness.run.data import Volumes
from benchharness.run.material import Crossed, Few, Home
from benchharness.store import carried
from benchharness.store.carried import SCRATCH
from benchharness.training import adaptation, shots, variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from benchharness.canonical import Value
    from benchharness.run.config import ModelOptions, RunConfig
    from benchharness.run.own_weights import Files
    from benchharness.run.weights import Weights
    from benchharness.store.cells import ModelKey
    from benchharness.training.adaptation import Adaptation
    from benchharness.training.recipe import Recipe

    Sources = Mapping[str, Volumes]
    """By what was typed; `none` is not among them."""

FINE_TUNING, FROM_SCRATCH = "finetune", "scratch"
"""Recipes for few labelled volumes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Way:
    """One way from a source to a target."""

    config: RunConfig
    model: ModelKey
    source: Volumes
    target: Volumes
    adapt: Adaptation
    shots: int | str
    recipe: str
    """The source's."""

    @property
    def differ(self) -> bool:
        return not self.source.dataset.corresponds(self.target.dataset)

    def settings(self, *, shots: int | str, select: str, recipe: str) -> dict[str, Value]:
        """How it enters the settings of a step."""
        return carried.settings(
            self.source.dataset.name,
            self.source.dataset.digest,
            adapt=self.adapt.name,
            version=self.adapt.version,
            shots=shots,
            select=select,
            recipe=recipe,
            differ=self.differ,
        )

    def crossed(self, *, select: str) -> Home:
        """The source's labels, with what the method sees of the target."""
        seen, chooses = self.adapt.sees_target, select == "target_val"
        val = self.target if chooses else self.source
        count = len((self.target if self.adapt.acts == "after" else self.source).dataset.train)
        return Home(
            name=self.target.dataset.name,
            digest=self.target.dataset.digest,
            material=Crossed(
                source=self.source.data,
                target=self.target.data,
                unlabelled=seen,
                target_val=chooses,
            ),
            train=count * (2 if self.adapt.acts == "beside" else 1),
            val=len(val.dataset.val),
        )


def sources(config: RunConfig, loaded: Mapping[str, Volumes]) -> dict[str, Volumes]:
    """The sources of a run.

    Args:
        config: Names them.
        loaded: The targets, by what was typed.
    """
    for name in config.adapt:
        adaptation.find(name)
    names = [name for name in config.train_on if name != SCRATCH]
    found: dict[str, Volumes] = {}
    for typed in registry.expand("datasets", tuple(names)) if names else ():
        found[typed] = loaded.get(typed) or Volumes.of(
            datasets.load(typed, config.data_root, config.preparation),
            typed,
            config.data_root,
            config.preparation,
        )
    return found


def every(
    config: RunConfig,
    models: Iterable[tuple[ModelKey, ModelOptions]],
    target: Volumes,
    files: Mapping[str, Files],
    among: Sources,
) -> list[Weights]:
    """The weights of all models on a target, as `locate` finds them."""
    return [
        weights
        for model, options in models
        for weights in locate(config, model, options, target, files[model.name], among)
    ]


def locate(
    config: RunConfig,
    model: ModelKey,
    options: ModelOptions,
    target: Volumes,
    own: Files,
    among: Sources,
) -> Iterator[Weights]:
    """Find the weights of a model on a target: without sources as `locating.locate` does.

    A source that is the target itself gives the network that its labels train, whatever the method
    and the number of shots: the upper bound.

    Raises:
        BenchError: As `locating.locate`, and where a source cannot be carried to the target.
    """
    if own or options.zoo or not config.train_on:
        yield from locating.locate(config, model, options, target.dataset, own)
        return
    for source in among.values():
        if source.dataset.digest == target.dataset.digest:
            yield from locating.locate(config, model, options, target.dataset, own)
            continue
        for recipe in config.recipes or (source.dataset.default_recipe,):
            for adapt in map(adaptation.find, config.adapt):
                for count in config.shots:
                    way = _Way(
                        config=config,
                        model=model,
                        source=source,
                        target=target,
                        adapt=adapt,
                        shots=count,
                        recipe=recipe,
                    )
                    _check(way)
                    yield from _along(way, options)
    if SCRATCH in config.train_on:
        yield from _from_scratch(config, model, options, target)


def _check(way: _Way) -> None:
    """Refuse a way that means nothing.

    Raises:
        BenchError: With what to do in its place.
    """
    source, target = way.source.dataset, way.target.dataset
    names = f"{source.name} → {target.name}"
    chain = variants.chain(way.recipe, variants.known(way.config.recipe_options))
    if way.differ and not way.shots:
        raise BenchError(
            f"{names}: labels do not correspond; with --shots K the head is trained anew; read as "
            "few-shot pre-training only."
        )
    if way.differ and way.adapt.sees_target:
        raise BenchError(
            f"{names}: labels do not correspond, so --adapt {way.adapt.name} would align other "
            "classes. Use --adapt none or instance_norm, with --shots K."
        )
    if source.in_channels != target.in_channels and (way.adapt.sees_target or not way.shots):
        raise BenchError(
            f"{names}: volumes of {source.in_channels} and of {target.in_channels} channels. Use "
            "--adapt none or instance_norm, with --shots K, which fits the first layer to both."
        )
    if way.adapt.acts == "beside" and chain[-1].eps:
        raise BenchError(
            f"--adapt {way.adapt.name} aligns the features of clean volumes, and recipe "
            f"{way.recipe!r} trains on crafted ones. Use it with a recipe without eps."
        )


def _along(way: _Way, options: ModelOptions) -> Iterator[Weights]:
    """The weights at the end of a way, for each training seed, with all that comes before them."""
    config, source = way.config, way.source.dataset
    known = variants.known(config.recipe_options)
    model = _changed(way.model) if way.adapt.acts == "network" else way.model
    chain = [
        (one, *locating.expected(model, options, one, source))
        for one in variants.chain(way.recipe, known)
    ]
    locating.check_alike(chain, source)
    locating.expected(model, options, chain[-1][0], way.target.dataset)
    for seed in config.seeds:
        weights = None
        for recipe, own, _ in chain[:-1]:
            weights = locating.of_recipe(
                config, own, source, recipe, seed, weights, home=_alone(way.source)
            )
        weights = _of_source(way, *chain[-1][:2], seed, weights)
        if way.adapt.acts == "after":
            weights = _after(way, weights, seed)
        if way.shots:
            weights = _tuned(way, weights, known[FINE_TUNING], seed)
        note = chain[-1][2]
        yield _shown(way, locating.ready(config, replace(weights, note=note), way.target.dataset))


def _changed(model: ModelKey) -> ModelKey:
    """A model whose BatchNorms normalise each volume by itself."""
    arguments = pairs({**dict(model.arguments), "network": model.factory})
    return replace(model, factory=per_volume.FACTORY, arguments=arguments)


def _alone(source: Volumes) -> Home:
    """A source by itself."""
    found = source.dataset
    return Home(
        name=found.name,
        digest=found.digest,
        material=source.data,
        train=len(found.train),
        val=len(found.val),
    )


def _of_source(
    way: _Way, recipe: Recipe, own: ModelKey, seed: int, start: Weights | None
) -> Weights:
    """What the source's labels train: with the target's volumes beside them for some methods."""
    select = "source_val" if way.shots or way.adapt.acts == "after" else way.config.select
    plain = way.adapt.acts != "beside" and select == "source_val"
    dataset = way.source.dataset if plain else way.target.dataset
    home = _alone(way.source) if plain else way.crossed(select=select)
    settings = {} if plain else way.settings(shots=0, select=select, recipe="")
    return locating.of_recipe(
        way.config, own, dataset, recipe, seed, start, home=home, carried=pairs(settings)
    )


def _after(way: _Way, start: Weights, seed: int) -> Weights:
    """What a method makes of the source's weights, without a label."""
    assert way.adapt.recipe is not None
    select = "source_val" if way.shots or way.adapt.recipe.keep == "last" else way.config.select
    settings = way.settings(shots=0, select=select, recipe=way.recipe)
    return locating.of_recipe(
        way.config,
        start.model,
        way.target.dataset,
        way.adapt.recipe,
        seed,
        start,
        home=way.crossed(select=select),
        carried=pairs(settings),
    )


def _few(target: Volumes, count: int | str) -> Home:
    """Some labelled volumes of a target."""
    wanted = None if isinstance(count, str) else count
    chosen = shots.choose(target.dataset.train, wanted, name=target.dataset.name)
    return Home(
        name=target.dataset.name,
        digest=target.dataset.digest,
        material=Few(target=target.data, shots=wanted),
        train=len(chosen),
        val=0,
    )


def _tuned(way: _Way, start: Weights, recipe: Recipe, seed: int) -> Weights:
    """What few labelled volumes make of the weights so far."""
    home = _few(way.target, way.shots)
    settings = way.settings(shots=way.shots, select=way.config.select, recipe=way.recipe)
    return locating.of_recipe(
        way.config,
        start.model,
        way.target.dataset,
        _selecting(way.config, recipe.for_volumes(home.train)),
        seed,
        start,
        home=home,
        carried=pairs(settings),
    )


def _selecting(config: RunConfig, recipe: Recipe) -> Recipe:
    """A recipe for few volumes that chooses the best epoch where the target's val may be read."""
    return replace(recipe, keep="best") if config.select == "target_val" else recipe


def _from_scratch(
    config: RunConfig, model: ModelKey, options: ModelOptions, target: Volumes
) -> Iterator[Weights]:
    """The same few labelled volumes from random weights."""
    recipe = variants.known(config.recipe_options)[FROM_SCRATCH]
    for count in (count for count in config.shots if count):
        home = _few(target, count)
        chosen = _selecting(config, recipe.for_volumes(home.train))
        own, note = locating.expected(model, options, chosen, target.dataset)
        settings = carried.settings(SCRATCH, "", shots=count, select=config.select)
        for seed in config.seeds:
            weights = locating.of_recipe(
                config, own, target.dataset, chosen, seed, None, home=home, carried=pairs(settings)
            )
            yield locating.ready(config, replace(weights, note=note), target.dataset)


def _shown(way: _Way, weights: Weights) -> Weights:
    """Weights whose settings say where they come from.

    Those that the source trains alone are the source's own, whatever they are judged on: only the
    cells say what they were carried to.
    """
    if weights.carried:
        return weights
    settings = way.settings(shots=0, select="source_val", recipe="")
    recipe = pairs({**dict(weights.checkpoint.recipe or ()), **settings})
    return replace(weights, checkpoint=replace(weights.checkpoint, recipe=recipe))
