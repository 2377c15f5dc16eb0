"""Where the weights of a network on a dataset are, or will be once they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.datasets import Dataset
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
    parity: Parity | None = None
    """The check that found this network's numbers to be its owner's; None without one."""

    @property
    def to_train(self) -> bool:
        """Whether they do not exist yet."""
        return self.checkpoint.sha256 is None

    def trainings(self) -> Iterator[Weights]:
        """What is to be trained for these weights: what they start from, then they themselves."""
        if not self.to_train:
            return
        if self.start is not None:
            yield from self.start.trainings()
        yield self

    @property
    def seed(self) -> int | None:
        """The training seed; None for weights that the user brought without one."""
        return self.checkpoint.seed


def missing(weights: Weights, dataset: Dataset, out: Path) -> str:
    """Say in a sentence which weights are not there."""
    assert weights.recipe is not None
    return (
        f"no checkpoint of {weights.model.name} on {dataset.name} (recipe {weights.recipe.name}, "
        f"seed {weights.seed}) in {out}."
    )


def untrained(weights: Weights, dataset: Dataset, out: Path) -> BenchError:
    """The error where weights are needed that are yet to be trained."""
    model = weights.model.name
    return BenchError(
        f"{missing(weights, dataset, out)} Train it with bench train --models {model} "
        f"--datasets {dataset.name} --out {out}, or pass --checkpoint {model}=PATH."
    )
