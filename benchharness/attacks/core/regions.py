"""The search for one region, which takes any intensity: where it lies, and what it holds."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from benchharness.attacks.core.base import Cost
from benchharness.attacks.core.boxes import box_mask, box_sums
from benchharness.attacks.core.sparse import (
    Rung,
    SingleVoxels,
    Sparse,
    extremes,
    gains,
    ranked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from benchharness.attacks.core.sparse import Search

    Window = tuple[int, int, int]
    Choose = Callable[[Tensor, Tensor], "_Regions"]

CANDIDATES = 64
"""Places, each with what it holds, that a round scores."""
_FILLS = 3
"""A region holds 1, 0, or the ends of [0, 1] that the gradient points to."""
_FEW = 4 * CANDIDATES // _FILLS
_MOVES = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
_STEPS = (1.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Regions:
    """A region for each of n volumes."""

    corner: Tensor
    """(n, 3)."""
    window: Tensor
    """(n, 3): its size."""
    fill: Tensor
    """(n,): which of the fills it holds."""


class Places(Rung):
    """Regions of one size: the best place of all, moved from there, and climbed inside.

    Places come in the order of their first-order gain, first those that do not overlap. Where there
    are few, four rounds score all of them with every fill, and nothing is moved.

    Args:
        search: Of the whole batch.
        windows: Sizes (d, h, w) that the region may have.
        rounds: How often it will advance.
    """

    def __init__(self, search: Search, windows: Sequence[Window], rounds: int) -> None:
        super().__init__(search)
        depth, height, width = self.clean.shape[2:]
        self.grid = depth, height, width
        gradient = search.first.gradient
        self.ends = extremes(self.clean, gradient)
        gain = gains(self.clean, gradient, self.ends).clamp_min(0)[:, None]
        places, keys = [], []
        for window in windows:
            sums = box_sums(gain, window)
            keys.append(_apart_first(sums, window))
            corner = torch.cartesian_prod(*(torch.arange(size) for size in sums.shape[2:]))
            places.append(torch.cat([corner, torch.tensor(window).expand(len(corner), 3)], dim=1))
        self.places = torch.cat(places).to(gain.device)
        self.order = ranked(torch.cat(keys, dim=1), -(-rounds * CANDIDATES // _FILLS))
        self.count = self.order.shape[1] * _FILLS
        best = self.places[self.order[:, 0]]
        self.corner, self.window = best[:, :3], best[:, 3:]
        self.fill = torch.full_like(self.order[:, 0], _FILLS - 1)
        self.side = min(min(window) for window in windows)
        self.round = 0

    def advance(self) -> None:
        """Score the next places, then move the best one and climb inside it."""
        for step in (self._next_places, self._move, self._climb):
            rows = self.search.standing
            if len(rows) > 0:
                step(rows)
        self.round += 1

    def _next_places(self, rows: Tensor) -> None:
        begin = self.round * CANDIDATES
        order = self.order[rows]

        def choose(which: Tensor, numbers: Tensor) -> _Regions:
            numbers = numbers + begin
            place = self.places[order[which, numbers // _FILLS]]
            return _Regions(corner=place[:, :3], window=place[:, 3:], fill=numbers % _FILLS)

        self._score(rows, max(0, min(CANDIDATES, self.count - begin)), choose)

    def _move(self, rows: Tensor) -> None:
        if len(self.places) <= _FEW:
            return
        corner, window, fill = self.corner[rows], self.window[rows], self.fill[rows]
        moves = max(1, self.side >> self.round + 1) * torch.tensor(_MOVES, device=rows.device)
        last = torch.tensor(self.grid, device=rows.device) - window

        def choose(which: Tensor, numbers: Tensor) -> _Regions:
            moved = (corner[which] + moves[numbers]).clamp_min(0).minimum(last[which])
            return _Regions(corner=moved, window=window[which], fill=fill[which])

        self._score(rows, len(moves), choose)

    def _score(self, rows: Tensor, count: int, choose: Choose) -> None:
        clean, ends = self.clean[rows], self.ends[rows]

        def points(which: Tensor, numbers: Tensor) -> Tensor:
            regions = choose(which, numbers)
            fill = regions.fill.view(-1, 1, 1, 1, 1)
            inside = torch.where(fill == 0, 1.0, torch.where(fill == 1, 0.0, ends[which]))
            mask = box_mask(regions.corner, regions.window, self.grid)
            return torch.where(mask, inside, clean[which])

        which, number = self.score(rows, count, points)[1:]
        best, kept = choose(which, number), rows[which]
        self.corner[kept], self.window[kept] = best.corner, best.window
        self.fill[kept] = best.fill

    def _climb(self, rows: Tensor) -> None:
        point = self.point[rows]
        mask = box_mask(self.corner[rows], self.window[rows], self.grid)
        uphill = self.search.gradient(rows, point).sign() * mask
        steps = torch.tensor(_STEPS, device=rows.device)

        def points(which: Tensor, numbers: Tensor) -> Tensor:
            step = steps[numbers].view(-1, 1, 1, 1, 1)
            return (point[which] + step * uphill[which]).clamp(0, 1)

        self.score(rows, len(steps), points)


def _apart_first(sums: Tensor, window: Window) -> Tensor:
    """Keys (B, P) that rank the best place in every cell of a window's size before all others."""
    best = F.max_pool3d(sums, window, stride=window, ceil_mode=True)
    for axis, side in enumerate(window, start=2):
        best = best.repeat_interleave(side, dim=axis).narrow(axis, 0, sums.shape[axis])
    sums, best = sums.flatten(1), best.flatten(1)
    return torch.where(sums == best, sums + sums.amax(1, keepdim=True), sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Sparse):
    """Rewrite one region of the volume."""

    larger: ClassVar[Cost] = Cost(forward=CANDIDATES + len(_MOVES) + 1 + len(_STEPS), backward=1)

    @abstractmethod
    def windows(self, side: int, grid: Window) -> tuple[Window, ...]:
        """The sizes (d, h, w) that a region may have, for a severity `side`."""

    def ladder(self, search: Search, sizes: Sequence[int]) -> list[Rung]:
        """A rung for each size; a region of one voxel is that voxel at 0 or 1."""
        depth, height, width = search.batch.volumes.shape[2:]
        rungs: list[Rung] = []
        for size in sizes:
            windows = self.windows(size, (depth, height, width))
            single = all(window == (1, 1, 1) for window in windows)
            rungs.append(
                SingleVoxels(search, self.rounds)
                if single
                else Places(search, windows, self.rounds)
            )
        return rungs
