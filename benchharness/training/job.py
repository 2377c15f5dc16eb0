"""What a training is asked to do, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.canonical import Pairs
    from benchharness.datasets.base import Dataset, Levels
    from benchharness.store.cells import ModelKey
    from benchharness.training.initialisation import InitialWeights
    from benchharness.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One training to be done."""

    model: ModelKey
    dataset: Dataset
    """Labelled volumes to train on, the split that weights are chosen by, and the one that they are
    judged on. Where it carries a source to a target it has the target's name."""
    recipe: Recipe
    seed: int
    directory: Path
    """Folder of the checkpoint, from `checkpoints.folder`."""
    initial: InitialWeights | None = None
    """Weights to begin from; None draws all weights from the seed."""
    start: Path | None = None
    """Folder of the checkpoint to begin from, of what this training starts from."""
    carried: Pairs = ()
    """How a source is carried to `dataset`, as it enters identities; empty without a source."""
    unlabelled: Levels | None = None
    """(N, C, D, H, W): volumes of the target's train split, for methods that adapt to them. Their
    labels are not here, so nothing can read them."""
    head_anew: bool = False
    """Whether the last layer begins at random, since the start's labels mean something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """How far a training is, after an epoch."""

    epoch: int
    """Epochs finished, counted from 1."""
    epochs: int
    loss: float
    val_auc: float | None
    best_val_auc: float
    seconds_left: float
    judged_by: str = "val AUC"
    """What `val_auc` is, in words."""


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive batches, without a last one of a single volume, which BatchNorm cannot take."""
    for start in range(0, count, size):
        if min(start + size, count) - start > 1 or count == 1:
            yield slice(start, min(start + size, count))
