"""Cells of attacks as matrix checks see them, and what a comparison of some of them says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.store.cells import condition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchharness.store.evidence import Evidence
    from benchharness.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedCell:
    """An attack's cell that did not fail, as the checks see it."""

    record: Record
    right: int
    """Volumes still classified correctly."""
    broken_by: NDArray[np.float32] | None = None
    """(N,), as `predictions.BROKEN_BY` says; None where the attack has no parts."""
    evidence: Evidence | None = None
    """Which volumes it broke; None where it has no budget ε."""

    @property
    def name(self) -> str:
        """Attack and severity in words."""
        return condition(self.record.cell.perturbation)

    @property
    def severity(self) -> float:
        """The attack's budget; 0 where it has none."""
        return float(self.record.cell.perturbation.severity or 0)

    @property
    def threat(self) -> tuple[str, float]:
        """Norm and budget."""
        return self.record.cell.perturbation.family, self.severity

    @property
    def follows_gradient(self) -> bool:
        """Whether it rests on the network's own gradient, alone or in part."""
        return self.fact("access") in ("white box", "both")

    def fact(self, name: str) -> Any:
        """What the attack reported about itself; None in records that lack it."""
        return self.record.facts.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One comparison of cells."""

    excess: float
    """The number that the bound is for: volumes, negative where all is well, or accuracy."""
    failed: bool
    reason: str
    """What was found, in words; shown when the comparison failed."""
    cells: tuple[str, ...]
    """Identities of the cells that a failure makes suspect."""


Found = tuple[str, list[Comparison]]
"""What a check needs, in words, and the comparisons that could be made."""


def comparison(excess: float, margin: float, reason: str, *cells: AttackedCell) -> Comparison:
    """A comparison of volumes, which fails at the margin or above."""
    return Comparison(
        excess=excess,
        failed=excess >= margin,
        reason=reason,
        cells=tuple(cell.record.identity for cell in cells),
    )
