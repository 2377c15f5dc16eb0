"""Trainings that gave the same weights, bit for bit, so that their cells would share their names.

A cell is named after weights, whoever trained them. Two recipes of which one keeps the best epoch
and the other the last often agree, and each is to have its row: the second one's cells are named
after its training too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.store.cells import CheckpointKey, describe
from benchharness.store.superseded import Trainings, training_of, trainings_of

if TYPE_CHECKING:
    from benchharness.run.planning import Job
    from benchharness.store.cells import Cell, ModelKey
    from benchharness.store.folder import Store


class Twins:
    """Who holds the names of cells: trainings whose cells were recorded, or planned, first.

    Args:
        store: Whose records hold their names.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        entries = store.entries().items()
        self._recorded = {name: entry.done for name, entry in entries if entry.status == "ok"}
        self._planned: dict[str, Cell] = {}
        self._told: set[Trainings] = set()

    def apart(self, job: Job) -> tuple[Job, str]:
        """A job whose cells have names of their own.

        Args:
            job: As it was planned; it stays as it is while its weights are to be trained.

        Returns:
            The job, and in one line whose weights it has; empty where no other training's, or
            where it was said before.
        """
        if any(cell.pending for cell in job.cells):
            return job, ""
        own = Trainings("", "")
        for before, cell in zip((None, *job.cells), job.cells, strict=False):
            # Cells of a job share their network, and mostly what their volumes are made on.
            if before is None or before.perturbation.source is not cell.perturbation.source:
                own = trainings_of(cell)
            other = self._holder(cell, own)
            if other is not cell and trainings_of(other) != own:
                job = replace(job, cells=tuple(_marked(one, beside=other) for one in job.cells))
                said = f"{describe(cell)} has the weights of {describe(other)}, bit for bit"
                told, self._told = own in self._told, self._told | {own}
                return job, "" if told else f"{said}: both are measured"
        self._planned |= {cell.identity: cell for cell in job.cells}
        return job, ""

    def _holder(self, cell: Cell, own: Trainings) -> Cell:
        """The cell that has this one's name."""
        name = cell.identity
        if self._recorded.get(name, own.done) != own.done:
            return self._store.records()[name].cell
        return self._planned.get(name, cell)


def _marked(cell: Cell, *, beside: Cell) -> Cell:
    """A cell named after its trainings, as far as they differ from those of another cell."""
    key, digest = cell.perturbation, cell.dataset.digest
    own = _apart(cell.model, cell.checkpoint, beside.checkpoint, digest)
    if key.source is not None and beside.perturbation.source is not None:
        held = beside.perturbation.source.checkpoint
        source = _apart(key.source.model, key.source.checkpoint, held, digest)
        key = replace(key, source=replace(key.source, checkpoint=source))
    return replace(cell, checkpoint=own, perturbation=key)


def _apart(model: ModelKey, own: CheckpointKey, held: CheckpointKey, data: str) -> CheckpointKey:
    if (own.recipe, own.seed) == (held.recipe, held.seed):
        return own
    return replace(own, twin=training_of(model, own, data))
