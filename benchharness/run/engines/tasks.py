"""What is sent to a worker, and what comes back: plain values that name data and weights.

A task names its data and weights by digest. Whoever performs it finds them (on this machine by path
and name, elsewhere in what was shipped) and checks the digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.run.measuring import Measured

if TYPE_CHECKING:
    from benchharness.artefacts import Artefact
    from benchharness.attacks import Attack
    from benchharness.run.data import Data, Limits
    from benchharness.run.material import Material
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Train:
    """Train a checkpoint, or finish an interrupted training, in the folder of `weights.path`."""

    weights: Weights
    data: Material


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """Measure one cell whose checkpoints exist."""

    job: int
    """Cells of one job have the same networks, data and limits; a worker keeps what it loaded."""
    weights: Weights
    source: Weights | None
    """The network that transferred volumes are made on."""
    data: Data
    limits: Limits
    """What the evaluated volumes are of the test split."""
    cell: Cell
    perturbation: Attack | Artefact | None
    """What the cell names; None for a clean cell."""
    before: tuple[Predictions, ...] | None
    """As for `evaluation.evaluate`."""
    batch_size: int | None
    """Volumes per forward pass; None chooses by the worker's device."""
    compiled: bool


Task = Train | Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A checkpoint is in its folder, with its card."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloadable:
    """The networks of a job cannot be loaded, so none of its cells can be measured."""

    reason: str


Result = Trained | Measured | Unloadable
"""`Trained` of a `Train`; `Measured` or `Unloadable` of a `Measure`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a worker says while it works: a line for the user, or how far it is."""

    note: str = ""
    done: int = 0
    """Volumes or epochs finished of this task, where there is no note."""
    detail: str = ""
    seconds_left: float | None = None
    """The task's own estimate; None where it has none."""
