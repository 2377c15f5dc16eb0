"""Rows: the cells of a store as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from benchharness.statistics import metrics
from benchharness.store.cells import CONTROL_FAMILY, condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from benchharness.statistics.basis import Predicted
    from benchharness.store.cells import PerturbationKey
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One cell with its labels, which tell apart what would share a name."""

    record: Record
    model: str
    dataset: str
    perturbation: str
    predictions: Predictions | None
    """None when the cell failed or its perturbation does not apply."""
    suspicion: str = ""
    """The failed record and matrix checks in words; empty when none failed."""

    @property
    def key(self) -> PerturbationKey:
        """What was done to the volumes."""
        return self.record.cell.perturbation

    @property
    def seed(self) -> int | None:
        """The training seed; None for weights that the user brought."""
        return self.record.cell.checkpoint.seed

    @property
    def family(self) -> str:
        """`clean`, an attack's norm, an artefact's group, or `control`."""
        return CONTROL_FAMILY if self.record.control else self.key.family

    @property
    def severity(self) -> float | None:
        """ε, count or level, and 0 for clean volumes; None for an attack that takes none."""
        if self.key.kind == "none":
            return 0.0
        return None if self.key.severity is None else float(self.key.severity)

    @cached_property
    def condition(self) -> str:
        """Perturbation and severity in words: `clean`, `pgd 8/255`, `motion level 3`."""
        return condition(self.key, label=self.perturbation)

    @property
    def plausible(self) -> bool | None:
        """Whether the dataset's acquisition can produce the artefact; None where unknown."""
        found = self.record.facts.get("plausible")
        return found if isinstance(found, bool) else None

    @property
    def failure(self) -> str:
        """Why the cell failed, as a gap says it."""
        return f"failed: {self.record.error}"

    @property
    def correct(self) -> NDArray[np.bool_] | None:
        """Shape (N,), which volumes were classified correctly; None when the cell failed."""
        if self.predictions is None:
            return None
        return metrics.correct(self.predictions.labels, self.predictions.logits)


def pairs(rows: Sequence[Row]) -> list[Predicted]:
    """Labels (N,) and logits (N, K) of every cell that has any."""
    return [(p.labels, p.logits) for row in rows if (p := row.predictions) is not None]


def patients(rows: Sequence[Row]) -> NDArray[np.str_] | None:
    """The patient of each volume of these cells, (N,); None where the dataset does not say."""
    known = (row.predictions.patients for row in rows if row.predictions is not None)
    return next((found for found in known if found is not None), None)
