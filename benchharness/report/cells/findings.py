"""Findings: all rows of a store, and the questions that tables and plots ask of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from benchharness.report.cells.cell_scores import CellScores
from benchharness.store import evidence
from benchharness.store.cells import CLEAN_FAMILY, family_order, family_title

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from benchharness.report.cells.rows import Row
    from benchharness.store.cells import Kind
    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.records import ModelCost

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Findings:
    """What a store holds, labelled."""

    directory: Path
    rows: tuple[Row, ...]
    """The results: all cells but the controls."""
    controls: tuple[Row, ...] = ()
    """Cells that show how far the results can be trusted (`Record.control`); they have a table of
    their own and enter nothing else."""
    checks: tuple[MatrixCheck, ...] = ()
    """What the cells of a checkpoint say of each other."""
    cell_scores: CellScores = field(default_factory=CellScores)
    """Scores of single rows and of means over rows."""
    _known: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Labels of all models, sorted; the order that gives each its colour and marker."""
        return tuple(sorted({row.model for row in self.rows}))

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Labels of all datasets in the order in which they were first run."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    @cached_property
    def failed(self) -> tuple[Row, ...]:
        """The cells that have an error instead of numbers."""
        every = (*self.rows, *self.controls)
        return tuple(row for row in every if row.record.status == "error")

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, int | None, str], Row]:
        return {(row.dataset, row.model, row.seed, row.condition): row for row in self.rows}

    def find(self, dataset: str, model: str, seed: int | None, condition: str) -> Row | None:
        """The row of a condition; None where it was not run."""
        return self._by_place.get((dataset, model, seed, condition))

    @cached_property
    def _witnesses(self) -> dict[tuple[object, ...], tuple[Row, ...]]:
        found: dict[tuple[object, ...], tuple[Row, ...]] = {}
        for row in (*self.rows, *self.controls):
            if evidence.adds_to_worst_case(row.record) and row.predictions is not None:
                place = evidence.checkpoint_of(row.record.cell)
                found[place] = (*found.get(place, ()), row)
        return found

    def witnesses(self, row: Row) -> tuple[Row, ...]:
        """Cells of the same checkpoint, on any volumes, that the worst case counts as well."""
        return self._witnesses.get(evidence.checkpoint_of(row.record.cell), ())

    def witnessed(self, dataset: str) -> bool:
        """Whether any checkpoint of a dataset has such cells."""
        return any(self.witnesses(row) for row in self.of(dataset))

    def clean(self, row: Row) -> Row | None:
        """The clean cell of the same checkpoint; None where it was not run."""
        return self.find(row.dataset, row.model, row.seed, CLEAN_FAMILY)

    def once(self, key: tuple[Hashable, ...], compute: Callable[[], Found]) -> Found:
        """What `compute` gives, computed once for each key: many tables ask the same."""
        if key not in self._known:
            self._known[key] = compute()
        found: Found = self._known[key]
        return found

    @cached_property
    def _by_dataset(self) -> dict[str, tuple[Row, ...]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.dataset, []).append(row)
        return {dataset: tuple(rows) for dataset, rows in found.items()}

    def of(self, dataset: str) -> tuple[Row, ...]:
        """All rows of a dataset."""
        return self._by_dataset.get(dataset, ())

    def families(self, dataset: str) -> tuple[str, ...]:
        """Families of perturbations run on a dataset, attacks first, without `clean`."""
        return self.once(("families", dataset), lambda: self._families(dataset))

    def _families(self, dataset: str) -> tuple[str, ...]:
        found = {family_order(row.key.kind, row.family) for row in self.of(dataset)}
        return tuple(dict.fromkeys(name for _, name in sorted(found) if name != CLEAN_FAMILY))

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return {row.family: row.key.kind for row in reversed(self.rows)}

    def title(self, family: str) -> str:
        """A family as a heading: `L∞ attacks`, `MR artefacts`, `clean`."""
        return family_title(self._kinds.get(family, "none"), family)

    @cached_property
    def _seeds(self) -> dict[tuple[str, str], set[int | None]]:
        found: dict[tuple[str, str], set[int | None]] = {}
        for row in self.rows:
            found.setdefault((row.dataset, row.model), set()).add(row.seed)
        return found

    def seeds(self, dataset: str, model: str) -> tuple[int | None, ...]:
        """Training seeds of a model on a dataset, sorted."""
        found = self._seeds.get((dataset, model), ())
        return tuple(sorted(found, key=lambda seed: -1 if seed is None else seed))

    @cached_property
    def _costs(self) -> dict[tuple[str, str | None], ModelCost]:
        found: dict[tuple[str, str | None], ModelCost] = {}
        for row in self.rows:
            if row.record.cost:
                for dataset in (None, row.dataset):
                    found.setdefault((row.model, dataset), row.record.cost)
        return found

    def cost(self, model: str, dataset: str | None = None) -> ModelCost | None:
        """Cost of a model on a dataset, or on the first where it was measured; None if nowhere."""
        return self._costs.get((model, dataset))
