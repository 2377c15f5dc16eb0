"""Slab: k adjacent slices take any intensity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.attacks.core.regions import Region

if TYPE_CHECKING:
    from benchharness.attacks.core.base import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab(Region):
    """k adjacent slices across any axis take any intensity."""

    name: ClassVar[str] = "slab"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "slab"
    smallest: ClassVar[Cost] = Region.larger
    source: ClassVar[str] = "own implementation"
    summary: ClassVar[str] = "Rewrites k adjacent slices, at the axis and place that hurt most."

    def windows(self, side: int, grid: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Slabs across depth, across height and across width."""
        depth, height, width = grid
        return (
            (min(side, depth), height, width),
            (depth, min(side, height), width),
            (depth, height, min(side, width)),
        )
