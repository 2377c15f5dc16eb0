"""Find the weights of a model on a dataset: the user's own, or those of a recipe."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from benchharness import registry
from benchharness.canonical import digest, pairs
from benchharness.errors import BenchError, CellError
from benchharness.networks import building, checkpoints, fitting
from benchharness.networks.adapters import Outputs
from benchharness.networks.asked import NOTHING
from benchharness.networks.classifier import Classifier
from benchharness.networks.formats import folders, programs
from benchharness.networks.preprocessing import Preprocessing
from benchharness.outside.containment import contained, in_one_line
from benchharness.run import zoo
from benchharness.run.own_weights import WeightsFile
from benchharness.run.weights import Weights, missing, trained
from benchharness.store import parity
from benchharness.store.cards import START, WEIGHTS
from benchharness.store.cells import CheckpointKey
from benchharness.training import initialisation, selection, variants

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from benchharness.canonical import Pairs
    from benchharness.datasets import Dataset
    from benchharness.run.config import ModelOptions, RunConfig
    from benchharness.run.material import Home
    from benchharness.run.own_weights import Files
    from benchharness.store.cells import ModelKey
    from benchharness.training.initialisation import InitialWeights
    from benchharness.training.recipe import Recipe


def locate(
    config: RunConfig, model: ModelKey, options: ModelOptions, dataset: Dataset, own: Files
) -> Iterator[Weights]:
    """Find the weights of a model on a dataset: the user's own, else of each training seed.

    Raises:
        BenchError: When weights do not fit the network, or are missing and may not be trained, or
            two seeds bring the same weights.
    """
    for weights in _located(config, model, options, dataset, own):
        key = parity.key_of(weights.model, weights.checkpoint, dataset.digest)
        known = None if weights.to_train else parity.find(config.out, key)
        yield replace(weights, parity=known)


def _located(
    config: RunConfig, model: ModelKey, options: ModelOptions, dataset: Dataset, own: Files
) -> Iterator[Weights]:
    if options.zoo:
        yield from zoo.locate(config, options.zoo, dataset)
        return
    if not own:
        yield from _by_recipe(config, model, options, dataset)
        return
    seeds: dict[str, int | None] = {}
    for seed, file in own:
        path = file.path
        if model.name in dict(config.init):
            raise BenchError(
                f"--checkpoint {model.name}={path} is measured as it is, and --init "
                f"{model.name}=… is for training. Keep one of the two."
            )
        weights = _brought(file, seed, model, options, dataset)
        content = f"{weights.checkpoint.sha256}{weights.checkpoint.part}"
        if content in seeds:
            raise BenchError(
                f"--checkpoint brings the same weights for seeds {seeds[content]} and {seed} of "
                f"{model.name} on {dataset.name}: {path}. Give each seed its own file."
            )
        seeds[content] = seed
        yield weights


def _brought(
    file: WeightsFile, seed: int | None, model: ModelKey, options: ModelOptions, dataset: Dataset
) -> Weights:
    """The user's own weights, once it is known that they fit."""
    broken = reading = part = note = origin = ""
    path = file.path
    model = _preprocessed(model, options, Preprocessing(), dataset)
    if folders.is_hub(path) or path.is_dir():
        folder = folders.fetched(path)
        origin = folders.origin(path, folder)
        model, path = _from_folder(model, folder)
    try:
        with contained():
            found = checkpoints.opened(
                model,
                path,
                num_classes=dataset.num_classes,
                in_channels=dataset.in_channels,
                part=file.part,
            )
            reading, part = ", ".join(filter(None, (found.line, origin))), found.part
            _check_grid(found.network, model, dataset)
            classifier = Classifier.of(
                model, found.network, num_classes=dataset.num_classes, device="cpu"
            )
            model, note = _fitted(model, classifier, options, dataset, trained=True)
    except BenchError:
        raise
    except Exception as error:
        # A user's network may raise anything; the others are worth measuring.
        broken = in_one_line(error)
    checkpoint = CheckpointKey(
        recipe=None, seed=seed, sha256=programs.digest(model, path), part=part
    )
    return Weights(
        model=model,
        checkpoint=checkpoint,
        path=path,
        reading=reading,
        broken=broken,
        note=note,
    )


def _fitted(
    model: ModelKey,
    classifier: Classifier,
    options: ModelOptions,
    dataset: Dataset,
    *,
    trained: bool,
) -> tuple[ModelKey, str]:
    """The model with its outputs, and what the user should know of them."""
    outputs, note = fitting.fit(
        classifier, dataset.test.volumes, options.outputs, name=model.name, trained=trained
    )
    return replace(model, outputs=outputs.to_pairs()), note


def _fitted_untrained(
    model: ModelKey, options: ModelOptions, dataset: Dataset
) -> tuple[ModelKey, str]:
    """The same for a network that is, or was, trained here: random weights show its structure."""
    known = registry.BUILT_IN["models"].values()
    if model.factory in known and options.outputs == NOTHING:
        return model, ""
    try:
        with contained():
            network = building.build_network(
                model, num_classes=dataset.num_classes, in_channels=dataset.in_channels
            )
            classifier = Classifier.of(
                model, network, num_classes=dataset.num_classes, device="cpu"
            )
            return _fitted(model, classifier, options, dataset, trained=False)
    except BenchError:
        raise
    except Exception:
        # What cannot be built or run now fails when it is trained, with its reason.
        return replace(model, outputs=Outputs.assumed(options.outputs).to_pairs()), ""


def _from_folder(model: ModelKey, folder: Path) -> tuple[ModelKey, Path]:
    """The model with the arguments of a folder's config, and the folder's weights."""
    said = dict(folders.arguments(folder, registry.import_target(model.factory)))
    return replace(model, arguments=pairs(said | dict(model.arguments))), folders.weights(folder)


def _check_grid(network: nn.Module, model: ModelKey, dataset: Dataset) -> None:
    """Refuse a program that takes no volumes of this dataset.

    Raises:
        BenchError: When it does not.
    """
    if not isinstance(network, programs.Program):
        return
    blank = torch.zeros((1, dataset.in_channels, *dataset.grid))
    seen = Preprocessing.from_pairs(model.preprocessing)(blank)
    if wrong := network.misfit(tuple(seen.shape[1:])):
        raise BenchError(f"model {model.name!r} on {dataset.name}: {wrong}.")


def _by_recipe(
    config: RunConfig, model: ModelKey, options: ModelOptions, dataset: Dataset
) -> Iterator[Weights]:
    """Weights in the run's folder, of each recipe and seed: trained before, or to be trained."""
    known = variants.known(config.recipe_options)
    for name in config.recipes or (dataset.default_recipe,):
        chain = [
            (recipe, *expected(model, options, recipe, dataset))
            for one in variants.chain(name, known)
            for recipe in (one.for_volumes(len(dataset.train)),)
        ]
        check_alike(chain, dataset)
        for seed in config.seeds:
            weights = None
            for recipe, own, note in chain:
                weights = of_recipe(config, own, dataset, recipe, seed, weights)
                weights = replace(weights, note=note)
            assert weights is not None
            yield ready(config, weights, dataset)


def ready(config: RunConfig, weights: Weights, dataset: Dataset) -> Weights:
    """Weights that exist, or may be trained.

    Raises:
        BenchError: When they may not be.
    """
    return _trainable(config, weights, dataset) if weights.to_train else weights


def expected(
    model: ModelKey, options: ModelOptions, recipe: Recipe, dataset: Dataset
) -> tuple[ModelKey, str]:
    """The model as a recipe trains it, and what the user should know of its outputs."""
    model = _preprocessed(model, options, recipe.preprocessing(dataset.modality), dataset)
    return _fitted_untrained(model, options, dataset)


def check_alike(chain: Sequence[tuple[Recipe, ModelKey, str]], dataset: Dataset) -> None:
    """Refuse to go on from weights that were trained on other volumes.

    Raises:
        BenchError: When two recipes of a chain differ in their preprocessing.
    """
    for (first, before, _), (second, after, _) in pairwise(chain):
        if before.preprocessing != after.preprocessing:
            raise BenchError(
                f"recipe {second.name!r} starts from {first.name!r}, which prepares the volumes of "
                f"{dataset.name} otherwise. Set shape_scaling alike in both."
            )


def of_recipe(
    config: RunConfig,
    model: ModelKey,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    start: Weights | None,
    *,
    home: Home | None = None,
    carried: Pairs = (),
) -> Weights:
    """The weights that a recipe makes of a training seed.

    The digest of how the weights that it starts from were trained is part of its settings, and so
    is how a source is carried to a target.
    """
    settings = recipe.to_pairs()
    initial = _initial(config, model.name) if start is None else None
    if initial is not None:
        settings = initial.extend(settings)
    if start is not None:
        settings = pairs({**dict(settings), START: digest(start.checkpoint.recipe)})
    settings = pairs({**dict(settings), **dict(carried)})
    folder, card = trained(config, model, dataset, settings, seed)
    return Weights(
        model=model,
        checkpoint=CheckpointKey(
            recipe=settings, seed=seed, sha256=None if card is None else card.sha256
        ),
        path=folder / WEIGHTS,
        recipe=recipe,
        initial=initial,
        start=start,
        home=home,
        carried=carried,
    )


def _trainable(config: RunConfig, weights: Weights, dataset: Dataset) -> Weights:
    """Weights that do not exist yet, once it is known that they may be trained.

    Raises:
        BenchError: When they may not be.
    """
    if not config.train:
        raise BenchError(
            f"{missing(weights, dataset, config)} Drop --no-train to train it, or pass "
            f"--checkpoint {weights.model.name}=PATH."
        )
    start = weights.start
    if start is not None and start.to_train:
        start = _trainable(config, start, dataset)
    return replace(weights, start=start, broken=_check_trainable(weights, dataset))


def _check_trainable(weights: Weights, dataset: Dataset) -> str:
    """Find what would stop a training before anything is written.

    Returns:
        Why it cannot be trained; empty where it can, or where only training will tell.

    Raises:
        BenchError: When the factory does not take its arguments, or the initial weights do not fit.
    """
    building.check_arguments(weights.model)
    if weights.recipe is not None and weights.home is None:
        blind = selection.blind(weights.recipe, dataset.val, dataset.num_classes)
        if blind:
            return blind
    if weights.initial is None:
        return ""
    try:
        network = building.build_network(
            weights.model, num_classes=dataset.num_classes, in_channels=dataset.in_channels
        )
    except CellError as error:
        return str(error)
    initialisation.apply(weights.initial, network, weights.model.name)
    return ""


def _initial(config: RunConfig, model: str) -> InitialWeights | None:
    """What a model's training starts from: its own file, else the one for every model."""
    given = dict(config.init)
    path = given.get(model, given.get(None))
    if path is None:
        return None
    file = WeightsFile.of(path)
    return initialisation.find(file.path, config.init_method, part=file.part)


def _preprocessed(
    model: ModelKey, options: ModelOptions, default: Preprocessing, dataset: Dataset
) -> ModelKey:
    """The model with the config's preprocessing, else with the default."""
    chosen = default
    if options.preprocessing is not None:
        chosen = Preprocessing.checked(dict(options.preprocessing))
    chosen.check_channels(dataset.in_channels, dataset.name)
    return replace(model, preprocessing=chosen.to_pairs())
