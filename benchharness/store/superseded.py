"""Failed records of weights that exist by now.

Cells whose training failed are recorded under the recipe and the training seed, since there is no
digest. Once a later run has trained the weights, its cells have other identities, and the old
records say nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchharness.store.cells import Cell, CheckpointKey, ModelKey
    from benchharness.store.records import Record


def current(records: Mapping[str, Record]) -> dict[str, Record]:
    """The records without those whose training failed and was done later, in the same order."""
    if not any(record.cell.pending for record in records.values()):
        return dict(records)
    trained = {
        training
        for record in records.values()
        for training, checkpoint in _trainings(record.cell)
        if checkpoint.sha256 is not None
    }
    return {
        identity: record
        for identity, record in records.items()
        if not any(
            checkpoint.sha256 is None and training in trained
            for training, checkpoint in _trainings(record.cell)
        )
    }


def _trainings(cell: Cell) -> Iterator[tuple[tuple[object, ...], CheckpointKey]]:
    """What identifies the training of each network of a cell before it is done."""
    networks: list[tuple[ModelKey, CheckpointKey]] = [(cell.model, cell.checkpoint)]
    if cell.perturbation.source is not None:
        networks.append((cell.perturbation.source.model, cell.perturbation.source.checkpoint))
    for model, checkpoint in networks:
        built = (model.factory, model.arguments, model.preprocessing)
        yield (*built, cell.dataset.digest, checkpoint.recipe, checkpoint.seed), checkpoint
