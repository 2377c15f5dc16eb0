"""Failed records of weights that exist by now.

Cells whose training failed are recorded under the recipe and the training seed, since there is no
digest. Once a later run has trained the weights, its cells have other identities, and the old
records say nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from benchharness.canonical import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.store.cells import Cell, CheckpointKey, ModelKey


class Trainings(NamedTuple):
    """Trainings that a cell rests on, by digest, separated by blanks."""

    done: str
    """Those whose weights the cell names."""
    awaited: str
    """Those that were yet to be done."""


class _Entry(Protocol):
    @property
    def done(self) -> str: ...
    @property
    def awaited(self) -> str: ...


E = TypeVar("E", bound=_Entry)


def trainings_of(cell: Cell) -> Trainings:
    """The trainings of a cell's network and of the source of its volumes; none of own weights."""
    networks: list[tuple[ModelKey, CheckpointKey]] = [(cell.model, cell.checkpoint)]
    if cell.perturbation.source is not None:
        networks.append((cell.perturbation.source.model, cell.perturbation.source.checkpoint))
    done: list[str] = []
    awaited: list[str] = []
    for model, checkpoint in networks:
        if checkpoint.recipe is None:
            continue
        name = training_of(model, checkpoint, cell.dataset.digest)
        (awaited if checkpoint.sha256 is None else done).append(name)
    return Trainings(" ".join(done), " ".join(awaited))


def training_of(model: ModelKey, checkpoint: CheckpointKey, data: str) -> str:
    """Digest of what trains a network on a dataset; weights that the user brought have it too."""
    return digest([*model.numbers().values(), data, checkpoint.recipe, checkpoint.seed])[:16]


def current(entries: Mapping[str, E]) -> dict[str, E]:
    """The entries without those whose training failed and was done later, in the same order."""
    if not any(entry.awaited for entry in entries.values()):
        return dict(entries)
    done = {name for entry in entries.values() for name in entry.done.split()}
    return {
        identity: entry
        for identity, entry in entries.items()
        if done.isdisjoint(entry.awaited.split())
    }
