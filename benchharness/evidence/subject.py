"""The network that claims are about: its cells, its volumes, and what is known of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.report import collect
from benchharness.store import evidence, metadata
from benchharness.store.cells import OWN_WEIGHTS, describe_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchharness.evidence.claims import Subject
    from benchharness.report.cells.rows import Row
    from benchharness.statistics.basis import Patients
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What a run measured of one network on one dataset."""

    rows: tuple[Row, ...]
    """Its results, the clean cell among them."""
    witnesses: tuple[Row, ...]
    """Cells that are no result of their own, but whose volumes the worst case counts."""
    clean: Row
    predictions: Predictions
    """Of the clean cell: its volumes are those that every claim is about."""
    metadata: Mapping[str, tuple[str, ...]]
    """A text for each volume, by column; empty texts where the table says nothing."""

    @property
    def cell(self) -> Cell:
        """The clean cell."""
        return self.clean.record.cell

    @property
    def patients(self) -> Patients | None:
        """Of each volume, (N,)."""
        return self.predictions.patients

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return int(self.predictions.logits.shape[1])

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Results and witnesses."""
        return (*self.rows, *self.witnesses)


def measured(directory: Path, wanted: Subject) -> Measured:
    """Read what a run measured of the network that is meant.

    Raises:
        BenchError: When there is no such network, or several, or it has no clean cell.
    """
    findings = collect.collect(directory)
    rows = tuple(row for row in findings.rows if _is_meant(row.record.cell, wanted))
    networks = {evidence.checkpoint_of(row.record.cell): row.record.cell for row in rows}
    if len(networks) != 1:
        cells = list(networks.values()) or [row.record.cell for row in findings.rows]
        raise _not_one(cells, bool(networks))
    clean = next((row for row in rows if row.key.kind == "none"), None)
    if clean is None or clean.predictions is None:
        why = "was not run" if clean is None else clean.failure
        raise BenchError(
            f"the clean cell of {_named(rows[0].record.cell)} {why}, and every claim starts with "
            f"it. Type 'bench run' with --out {directory} again."
        )
    return Measured(
        rows=rows,
        witnesses=tuple(row for row in findings.witnesses(clean) if row.record.control),
        clean=clean,
        predictions=clean.predictions,
        metadata=_metadata(
            directory, clean.record.cell.dataset.digest, clean.predictions.ids.tolist()
        ),
    )


def _is_meant(cell: Cell, wanted: Subject) -> bool:
    return (
        wanted.model in (None, cell.model.name)
        and wanted.dataset in (None, cell.dataset.name)
        and wanted.recipe in (None, cell.checkpoint.recipe_name)
        and wanted.seed in (None, cell.checkpoint.seed)
    )


def _not_one(cells: Sequence[Cell], several: bool) -> BenchError:
    named = sorted({_named(cell) for cell in cells})
    listing = "; ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    if several:
        return BenchError(
            f"claims are about one network, and these fit: {listing}. Type model, dataset, recipe "
            "and seed of one under [subject]."
        )
    return BenchError(f"[subject] fits no network of the run. It holds {listing}.")


def _named(cell: Cell) -> str:
    recipe = cell.checkpoint.recipe_name or OWN_WEIGHTS
    parts = (cell.model.name, cell.dataset.name, recipe, describe_seed(cell.checkpoint.seed))
    return " · ".join(dict.fromkeys(parts))


def _metadata(directory: Path, digest: str, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the table says of each of these volumes, by column."""
    by_id = metadata.read(directory, digest)
    names = dict.fromkeys(name for row in by_id.values() for name in row)
    return {name: tuple(by_id.get(one, {}).get(name, "") for one in ids) for name in names}
