"""Cube: a cube of side k takes any intensity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchharness.attacks.core.regions import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Cube(Region):
    """A cube of side k takes any intensity."""

    name: ClassVar[str] = "cube"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "cube"
    source: ClassVar[str] = "own implementation"
    summary: ClassVar[str] = "Rewrites a cube of side k at the place that hurts most."

    def windows(self, side: int, grid: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """The cube, cut where the grid is smaller."""
        depth, height, width = grid
        return ((min(side, depth), min(side, height), min(side, width)),)
