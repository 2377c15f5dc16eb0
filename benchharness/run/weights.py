"""Where the weights of a network on a dataset are, or will be once they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.canonical import Pairs
    from benchharness.datasets import Dataset
    from benchharness.run.config import RunConfig
    from benchharness.run.material import Home
    from benchharness.store.cards import ModelCard
    from benchharness.store.cells import CheckpointKey, ModelKey
    from benchharness.store.parity import Parity
    from benchharness.training.initialisation import InitialWeights
    from benchharness.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of one network on one dataset."""

    model: ModelKey
    """The network, with the preprocessing that these weights expect."""
    checkpoint: CheckpointKey
    path: Path
    """Where they are, or will be."""
    recipe: Recipe | None = None
    """How they are trained; None for weights that the user brought."""
    initial: InitialWeights | None = None
    """A file that training starts from; None without one."""
    start: Weights | None = None
    """What another recipe trains and this one starts from; None without one."""
    reading: str = ""
    """How weights that the user brought were read, in one line; empty for others."""
    broken: str = ""
    """Why the network cannot be built, so that its cells fail; empty where it can."""
    note: str = ""
    """How its logits are taken from what it returns; empty where it returns them."""
    home: Home | None = None
    """What they are trained on where that is not just the dataset that they are judged on."""
    carried: Pairs = ()
    """How a source is carried to a target in this training; empty where nothing of the target takes
    part."""
    parity: Parity | None = None
    """The check that found this network's numbers to be its owner's; None without one."""

    @property
    def to_train(self) -> bool:
        """Whether they do not exist yet."""
        return self.checkpoint.sha256 is None

    def on(self, judged: Dataset) -> tuple[str, str]:
        """Name and digest of the dataset that they are trained on, by default the judged one."""
        home = self.home or judged
        return home.name, home.digest

    def lineage(self) -> Iterator[Weights]:
        """What these weights start from, the first of them first, then they themselves."""
        if self.start is not None:
            yield from self.start.lineage()
        yield self

    def trainings(self) -> Iterator[Weights]:
        """What is to be trained for these weights, in order."""
        if not self.to_train:
            return
        if self.start is not None:
            yield from self.start.trainings()
        yield self

    @property
    def seed(self) -> int | None:
        """The training seed; None for weights that the user brought without one."""
        return self.checkpoint.seed


def trained(
    config: RunConfig, model: ModelKey, dataset: Dataset, recipe: Pairs, seed: int
) -> tuple[Path, ModelCard | None]:
    """The folder of a training's checkpoint and its card; None where it is yet to be trained.

    Raises:
        BenchError: When `--checkpoints-from` names a folder without checkpoints.
    """
    training = (model, dataset.name, dataset.digest, recipe, seed)
    own = checkpoints.folder(Store(config.out).checkpoints, *training)
    card = checkpoints.read_card(own)
    if card is not None or config.checkpoints_from is None:
        return own, card
    root = Store(config.checkpoints_from).checkpoints
    if not root.is_dir():
        raise BenchError(
            f"--checkpoints-from {config.checkpoints_from} has no checkpoints. Give the --out of a "
            "bench train or bench run."
        )
    other = checkpoints.folder(root, *training)
    card = checkpoints.read_card(other)
    return (own if card is None else other), card


def missing(weights: Weights, dataset: Dataset, config: RunConfig) -> str:
    """Say in a sentence which weights are not there."""
    assert weights.recipe is not None
    other = f" or {config.checkpoints_from}" if config.checkpoints_from else ""
    return (
        f"no checkpoint of {weights.model.name} on {weights.on(dataset)[0]} "
        f"(recipe {weights.recipe.name}, seed {weights.seed}) in {config.out}{other}."
    )


def untrained(weights: Weights, dataset: Dataset, config: RunConfig) -> BenchError:
    """The error where weights are needed that are yet to be trained."""
    model = weights.model.name
    return BenchError(
        f"{missing(weights, dataset, config)} Train it with bench train --models {model} "
        f"--datasets {dataset.name} --out {config.out}, or pass --checkpoint {model}=PATH."
    )
