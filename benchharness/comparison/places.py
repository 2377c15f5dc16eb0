"""Places in the matrix of cells, and the gaps in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchharness.store.cells import condition, family_order, family_title, severity_order

if TYPE_CHECKING:
    from benchharness.store.cells import Cell, Kind

GapKind = Literal["refused", "missing", "suspect", "unreferenced"]
"""Why a cell is left out.

`refused`: its counterpart is another measurement. `missing`: it failed, or NEW has no counterpart.
`suspect`: a number must not be trusted. `unreferenced`: BASE has no counterpart, which is no fault.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cell's place in the matrix, whatever the checkpoint and however it was measured."""

    model: str
    """The model's name; `NEW against BASE` where two models are compared."""
    dataset: str
    family: str
    """`clean`, an attack's norm or an artefact's group."""
    kind: Kind
    condition: str
    """`clean`, `pgd 8/255`, `motion level 3`."""
    severity: float | None

    @classmethod
    def of(cls, cell: Cell, model: str) -> Place:
        """The place of a cell whose model is given this name."""
        key = cell.perturbation
        return cls(
            model=model,
            dataset=cell.dataset.name,
            family=key.family,
            kind=key.kind,
            condition=condition(key),
            severity=key.severity,
        )

    @property
    def family_title(self) -> str:
        """`clean`, `L∞ attacks`, `MR artefacts`."""
        return family_title(self.kind, self.family)

    @property
    def family_order(self) -> tuple[Any, ...]:
        """Sorts by model and dataset, then clean, attacks, artefacts."""
        return (self.model, self.dataset, *family_order(self.kind, self.family))

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts as `family_order`, then by perturbation and severity."""
        name = self.condition.partition(" ")[0]
        return (*self.family_order, name, severity_order(self.severity))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cell that is left out."""

    place: Place
    kind: GapKind
    reason: str
    lost: bool = False
    """Whether BASE has the number and NEW does not."""
