"""Voxel flips: k voxels go to 0 or 1, ranked by gradient, scored exactly and swapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.base import Cost
from benchharness.attacks.core.sparse import Rung, SingleVoxels, Sparse, extremes, gains, ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchharness.attacks.core.sparse import Search

SWAPS = 16
"""Candidates of a round at a size above 1, each made from the best point so far."""
_HALVINGS = 6
"""A candidate fills the room that is left, or exchanges half of the voxels, or 1/2 … 1/32 of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ranking:
    """Which voxels may enter, and what they become."""

    order: Tensor
    """(n, N), best first: v stands for the end of voxel v in `ends`, v + V for the other end."""
    ends: Tensor
    """(n, C, V), 0 or 1."""
    flat: bool = False
    """Whether every place of the order is equally likely; else place r in proportion to 1/r."""

    def select(self, rows: Tensor) -> _Ranking:
        """The ranking of some volumes."""
        return _Ranking(order=self.order[rows], ends=self.ends[rows], flat=self.flat)

    def places(self, chance: Tensor) -> Tensor:
        """Places in the order for uniform draws (n, k); the i-th is i where the draw is 0."""
        count = self.order.shape[1]
        if self.flat:
            return (chance * count).long().clamp_max(count - 1)
        first = torch.arange(1, chance.shape[1] + 1, device=chance.device).clamp_max(count)
        return (first * (count / first) ** chance).long().clamp(1, count) - 1


class _Swaps(Rung):
    """Up to `size` voxels: grown from the best point of fewer, and improved by swaps.

    The moves are those of Sparse-RS, but voxels of a high rank are likelier to enter, and those
    that matter least to leave. In turns voxels rank by the gradient at the point, by the exact
    scores of single voxels, and not at all, so that a misleading rank costs a share of the queries.
    """

    def __init__(self, search: Search, size: int, below: Rung, singles: SingleVoxels) -> None:
        super().__init__(search)
        self.voxels = self.clean[0, 0].numel()
        self.size = min(size, self.voxels)
        self.below, self.singles = below, singles
        # Named by its own size, so that a search at a larger severity repeats this one.
        name, _, seed = search.batch.draws.names
        self.draws = search.batch.draws.renamed(name, size, seed)
        self.greedy = True

    def advance(self) -> None:
        """Take the point of the rung below where it is better, then score changes of the point."""
        rows = self.search.standing
        lower = rows[self.below.value[rows] > self.value[rows]]
        self.point[lower], self.value[lower] = self.below.point[lower], self.below.value[lower]
        self._together(rows)
        rows = self.search.standing
        if len(rows) == 0:
            return
        gradient = self.search.gradient(rows, self.point[rows])
        rankings = self._rankings(rows, gradient)
        for number in range(SWAPS):
            left = (~self.search.worst.broken[rows]).nonzero()[:, 0]
            if len(left) == 0:
                break
            ranking = rankings[number % len(rankings)].select(left)
            greedy = self.greedy and number < len(rankings) and not ranking.flat
            self._try(rows[left], gradient[left], ranking, greedy=greedy)
        self.greedy = False

    def _together(self, rows: Tensor) -> None:
        """Score the set of those single voxels that gain most alone."""
        order, gain = self.singles.best(rows)
        order, gain = order[:, : self.size], gain[:, : self.size]
        # A voxel that gains nothing repeats the first.
        order = torch.where(gain > 0, order, order[:, :1])
        clean, ends = self.clean[rows].flatten(2), self.singles.ends[rows].flatten(2)
        made = _set(clean, order, ends).view(-1, *self.clean.shape[1:])
        self.score(rows, 1, lambda which, _: made[which])

    def _rankings(self, rows: Tensor, gradient: Tensor) -> tuple[_Ranking, ...]:
        point, clean = self.point[rows], self.clean[rows]
        uphill = extremes(point, gradient)
        inside = (point != clean).any(1).flatten(1)
        gain = [gains(point, gradient, ends).flatten(1) for ends in (uphill, 1 - uphill)]
        scores = torch.cat([one.masked_fill(inside, -torch.inf) for one in gain], dim=1)
        anything = torch.arange(scores.shape[1], device=rows.device).expand(len(rows), -1)
        uphill = uphill.flatten(2)
        return (
            _Ranking(order=ranked(scores, scores.shape[1]), ends=uphill),
            _Ranking(order=self.singles.best(rows)[0], ends=self.singles.ends[rows].flatten(2)),
            _Ranking(order=anything, ends=uphill, flat=True),
        )

    def _try(self, rows: Tensor, gradient: Tensor, ranking: _Ranking, *, greedy: bool) -> None:
        """Score one candidate of each volume: voxels fill the room left, or replace others."""
        point, clean = self.point[rows].flatten(2), self.clean[rows].flatten(2)
        draws = self.draws.select(rows.tolist())
        halved = draws.integers((len(rows), 1), _HALVINGS)[:, 0]
        chance = draws.uniform(torch.empty(len(rows), 2, self.size), 0, 1)
        if greedy:
            halved, chance = torch.zeros_like(halved), torch.zeros_like(chance)
        inside = (point != clean).any(1)
        room = self.size - inside.sum(1)
        swaps = (self.size >> halved + 1).clamp_min(1)
        entering = torch.where(room > 0, -(-room >> halved), swaps)
        loss = (gradient.flatten(2) * (clean - point)).sum(1).masked_fill(~inside, -torch.inf)
        leaves = _some(loss, torch.where(room > 0, 0, swaps), chance[:, 0])
        voxel = ranking.order.gather(1, ranking.places(chance[:, 1]))
        # What is left over repeats the first.
        extra = torch.arange(self.size, device=rows.device) >= entering[:, None]
        voxel = torch.where(extra, voxel[:, :1], voxel)
        made = _set(torch.where(leaves[:, None], clean, point), voxel, ranking.ends)
        self.score(rows, 1, lambda which, _: made[which].view(-1, *self.clean.shape[1:]))


def _set(points: Tensor, order: Tensor, ends: Tensor) -> Tensor:
    """Points (n, C, V) with some voxels at their ends, or the other ends; `_Ranking` has both."""
    voxels = points.shape[2]
    index = (order % voxels)[:, None].expand(-1, points.shape[1], -1)
    goal = ends.gather(2, index)
    goal = torch.where((order >= voxels)[:, None], 1 - goal, goal)
    return points.scatter(2, index, goal)


def _some(scores: Tensor, counts: Tensor, chance: Tensor) -> Tensor:
    """A mask (n, V) of some voxels: that of the r-th highest score in proportion to 1/r.

    Args:
        scores: (n, V), −∞ for voxels that must not be chosen.
        counts: (n,), how many; at most as many as may be chosen.
        chance: (n, k), uniform, for the k highest scores.
    """
    best = scores.topk(chance.shape[1], dim=1)
    rank = torch.arange(1, chance.shape[1] + 1, device=scores.device)
    # The largest of log-weights with Gumbel noise are a sample without replacement.
    keys = -rank.log() - (-chance.clamp_min(1e-30).log()).clamp_min(1e-30).log()
    order = keys.masked_fill(best.values == -torch.inf, -torch.inf).argsort(dim=1, descending=True)
    chosen = best.indices.gather(1, order)
    within = torch.arange(chance.shape[1], device=scores.device) < counts[:, None]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, chosen, within)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelFlip(Sparse):
    """Flip the k voxels that the gradient ranks, exact scores choose and swaps improve."""

    name: ClassVar[str] = "voxel_flip"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "l0"
    source: ClassVar[str] = (
        "after Sparse-RS of Croce et al., AAAI 2022, arXiv 2006.12834, guided by the gradient; own "
        "implementation"
    )
    summary: ClassVar[str] = (
        "Flips k voxels: ranked by the gradient, scored exactly, grown and swapped."
    )
    larger: ClassVar[Cost] = Cost(forward=SWAPS + 2, backward=1)

    def ladder(self, search: Search, sizes: Sequence[int]) -> list[Rung]:
        """Every rung grows from the one below."""
        singles = SingleVoxels(search, self.rounds)
        rungs: list[Rung] = [singles]
        for size in sizes[1:]:
            rungs.append(_Swaps(search, size, rungs[-1], singles))
        return rungs
