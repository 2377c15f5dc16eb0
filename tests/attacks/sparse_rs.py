"""Sparse-RS for volumes, as an oracle: random swaps of voxels at 0 or 1, from scores alone.

Written from the algorithm of Croce, Andriushchenko, Singh, Flammarion & Hein, AAAI 2022,
arXiv 2006.12834, with its schedule and α₀ = 0.3; it shares no code with the attacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_DIVISORS = ((10, 1), (50, 2), (200, 4), (500, 5), (1000, 6), (2000, 8), (4000, 10), (6000, 12))
_ALPHA = 0.3


def share(iteration: int, iterations: int) -> float:
    """Share of the k voxels that an iteration swaps, with the schedule rescaled."""
    scaled = int(iteration / iterations * 10_000)
    for limit, divisor in (*_DIVISORS, (8000, 15)):
        if scaled <= limit:
            return _ALPHA / divisor
    return _ALPHA / 20


class _One:
    """The state of one volume: the voxels of its set, and their values."""

    def __init__(self, volume: Tensor, count: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.clean = volume.flatten(1)
        order = self.random.permutation(self.clean.shape[1])
        self.inside, self.outside = order[:count], order[count:]
        self.values = self._corners(count)
        self.loss = -np.inf

    def _corners(self, count: int) -> Tensor:
        return torch.from_numpy(self.random.integers(0, 2, (len(self.clean), count))).float()

    def propose(self, swaps: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """A new set, what it leaves outside, and its values."""
        swaps = min(swaps, len(self.inside), len(self.outside))
        leave = self.random.permutation(len(self.inside))[:swaps]
        enter = self.random.permutation(len(self.outside))[:swaps]
        inside, outside, values = self.inside.copy(), self.outside.copy(), self.values.clone()
        inside[leave], outside[enter] = self.outside[enter], self.inside[leave]
        values[:, leave] = self._corners(swaps)
        return inside, outside, values

    def point(self, inside: np.ndarray, values: Tensor) -> Tensor:
        changed = self.clean.clone()
        changed[:, torch.from_numpy(inside)] = values
        return changed


@torch.no_grad()
def sparse_rs(
    network: nn.Module, volumes: Tensor, labels: Tensor, count: int, queries: int, seed: int = 0
) -> Tensor:
    """Whether random search with `queries` forward passes leaves each volume right, bool (B,)."""
    right = network(volumes).argmax(1) == labels
    rows = right.nonzero()[:, 0].tolist()
    states = {row: _One(volumes[row], count, seed + row) for row in rows}
    for query in range(queries):
        if not rows:
            break
        swaps = max(int(share(query, queries) * count), 1) if query else 0
        proposals = [states[row].propose(swaps) for row in rows]
        points = [states[row].point(p[0], p[2]) for row, p in zip(rows, proposals, strict=True)]
        logits = network(torch.stack(points).view(-1, *volumes.shape[1:]))
        own = logits.gather(1, labels[rows][:, None])[:, 0]
        others = logits.scatter(1, labels[rows][:, None], -torch.inf).amax(1)
        for row, proposal, loss in zip(rows, proposals, (others - own).tolist(), strict=True):
            state = states[row]
            if loss >= state.loss:
                (state.inside, state.outside, state.values), state.loss = proposal, loss
            right[row] = loss < 0
        rows = [row for row in rows if right[row]]
    return right
