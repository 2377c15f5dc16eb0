"""Square attack for volumes: random search, from the logits alone.

In L∞ the slices of a volume are what the channels are to the original: each has a sign of its own.
A square goes through all of them, or through as many as make it a cube, in turn; and the axis that
the slices lie along changes from query to query.
torchattacks' Square places the same square with the same signs in the whole batch, so that a
volume's result depends on its batch, and never in the last row or column; hence this
implementation.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.boxes import box_mask
from benchharness.attacks.core.norms import BUDGETS, L2_RMS
from benchharness.attacks.core.objectives import STOPS_ONCE_BROKEN, choose, margin

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.base import Access
    from benchharness.attacks.core.draws import Draws

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Square's schedule: the queries, of 10,000, after which the share of voxels is halved."""
_LEAST_BUMP = 3
"""Smallest side of a bump."""


Grid = tuple[int, int, int]
"""Sizes (d, h, w)."""


def fraction(proposal: int, initial: float, queries: int | None = None) -> float:
    """Share of the voxels that a proposal changes.

    Args:
        proposal: Its number; 0 is the first after the start.
        initial: The share that the schedule begins with.
        queries: The number of proposals to stretch the schedule to; None leaves it at 10,000.
    """
    scaled = proposal if queries is None else int(proposal / queries * 10_000)
    return float(initial / 2 ** sum(scaled > limit for limit in _HALVINGS))


def slice_axis(proposal: int, grid: Grid) -> int:
    """The axis (0 to 2) along which a proposal's slices lie: each in turn.

    On one slice alone it stays the axis of that slice, and the attack is the original.
    """
    axes = [axis for axis in range(3) if all(size > 1 for size in _without(grid, axis))]
    return axes[proposal % len(axes)] if axes else grid.index(min(grid))


def column_of(share: float, grid: Grid, axis: int) -> Grid:
    """Size (d, h, w) of a square with a share of a slice's voxels, through all slices.

    Args:
        share: Share of the voxels, 0 to 1.
        grid: (D, H, W); the square is cut where a slice is smaller.
        axis: The axis of the slices.
    """
    height, width = _without(grid, axis)
    side = max(round(math.sqrt(share * height * width)), 1)
    window = [min(side, size) for size in grid]
    window[axis] = grid[axis]
    return window[0], window[1], window[2]


def _without(grid: Grid, axis: int) -> tuple[int, ...]:
    return grid[:axis] + grid[axis + 1 :]


def cube_of(share: float, grid: Grid, least: int = 1) -> Grid:
    """Size (d, h, w) of a cube with a share of a grid's voxels, cut where the grid is smaller.

    Args:
        share: Share of the voxels, 0 to 1.
        grid: (D, H, W).
        least: Smallest side.
    """
    voxels = grid[0] * grid[1] * grid[2]
    # A flat grid spreads the voxels over two axes only.
    axes = max(1, sum(size > 1 for size in grid))
    side = max(round((share * voxels) ** (1 / axes)), least)
    depth, height, width = (min(side, size) for size in grid)
    return depth, height, width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The state of the search, for the volumes that are still correct."""

    clean: Tensor
    """(n, C, D, H, W)."""
    point: Tensor
    """(n, C, D, H, W), the best so far."""
    draws: Draws
    """The draws of these volumes."""
    severity: float

    def select(self, kept: Tensor) -> State:
        """The state of the volumes that a mask (n,) keeps."""
        return State(
            clean=self.clean[kept],
            point=self.point[kept],
            draws=self.draws.select(kept.nonzero()[:, 0].tolist()),
            severity=self.severity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Square(Attack):
    """What both norms share: a proposal is kept if it raises the margin."""

    source: ClassVar[str] = (
        "Andriushchenko, Croce, Flammarion & Hein, ECCV 2020, arXiv 1912.00049; own implementation"
    )
    access: ClassVar[Access] = "black box"
    auc_undefined: ClassVar[str] = STOPS_ONCE_BROKEN
    traced: ClassVar[bool] = False

    queries: int = parameter(5000, low=1)
    """Most proposals for one volume, the start not counted; it stops once broken."""
    initial_share: float = parameter(0.8, low=0.0, high=1.0)
    """Share of the voxels that the first proposals change."""
    rescaled: bool = parameter(True)
    """Whether the schedule of shares, written for 10,000 proposals, is stretched to `queries`."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """The queries, the start, and a forward pass to see which volumes are correct."""
        return Cost(forward=2 + self.queries, backward=0)

    @abstractmethod
    def start(self, clean: Tensor, draws: Draws, severity: float) -> Tensor:
        """The first proposal, inside the ball and [0, 1]."""

    @abstractmethod
    def propose(self, state: State, number: int) -> Tensor:
        """The proposal of a number from 0: some voxels changed; inside the ball and [0, 1]."""

    def share(self, number: int) -> float:
        """The share of the voxels that the proposal of a number from 0 changes."""
        return fraction(number, self.initial_share, self.queries if self.rescaled else None)

    @torch.no_grad()
    def perturb(self, batch: Batch) -> Tensor:
        """Search until the volume breaks or the queries are spent."""
        best = batch.volumes.clone()
        untouched, broken = self._look(batch, best, torch.arange(len(best), device=best.device))
        spent = torch.zeros_like(batch.labels)
        rows = (~broken).nonzero()[:, 0]
        value = untouched[rows]
        state = State(
            clean=batch.volumes[rows],
            point=batch.volumes[rows],
            draws=batch.draws.select(rows.tolist()),
            severity=batch.severity,
        )
        project = BUDGETS[self.norm].projection(state.clean, batch.severity)
        for query in range(1 + self.queries):
            if len(rows) == 0:
                break
            proposal = project(self._proposal(state, query))
            reached, fooled = self._look(batch, proposal, rows)
            # The start counts from the first, as in the original, even where it is no better.
            better = (reached > value) | fooled | (query == 0)
            state.point.copy_(choose(better, proposal, state.point))
            value = torch.where(better, reached, value)
            spent[rows] += 1
            if fooled.any():
                best[rows[fooled]] = proposal[fooled]
                rows, value, state = rows[~fooled], value[~fooled], state.select(~fooled)
                project = BUDGETS[self.norm].projection(state.clean, batch.severity)
        batch.findings.update(queries=spent)
        # The search begins at a random proposal and may end at a lower margin than the clean one.
        gained = value >= untouched[rows]
        best[rows[gained]] = state.point[gained]
        return best

    def _proposal(self, state: State, query: int) -> Tensor:
        if query == 0:
            return self.start(state.clean, state.draws, state.severity)
        return self.propose(state, query - 1)

    @staticmethod
    def _look(batch: Batch, volumes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (n,) of some of the batch's volumes, and whether each is misclassified."""
        labels = batch.labels[rows]
        logits = batch.classifier(volumes).float()
        return margin(logits, labels), logits.argmax(1) != labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Square3D(Square):
    """Square attack in the L∞ ball, with signs for the slices of each axis in turn."""

    name: ClassVar[str] = "square3d"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "linf"
    summary: ClassVar[str] = (
        "Random search: columns and cubes of ±ε, a sign for each slice, ever smaller, kept where "
        "the margin rises."
    )

    def start(self, clean: Tensor, draws: Draws, severity: float) -> Tensor:
        """Stripes of ±ε along the height, a voxel wide, with signs of their own in each slice."""
        signs = draws.signs(clean[:, :, :, :1])
        return (clean + severity * signs).clamp(0, 1)

    def propose(self, state: State, number: int) -> Tensor:
        """Set a column or a cube to ±ε, the sign drawn for each channel and slice.

        Both hold the same share of the voxels. Columns break some networks first and cubes others;
        on one slice both are the original's square.
        """
        count, channels, depth, height, width = state.clean.shape
        grid = (depth, height, width)
        axis, share = slice_axis(number, grid), self.share(number)
        window = cube_of(share, grid) if number % 2 else column_of(share, grid, axis)
        mask = box_mask(corners(state.draws, count, window, grid), window, grid)
        slices = [size if axis == own else 1 for own, size in enumerate(grid)]
        signs = state.draws.signs(state.clean.new_empty(count, channels, *slices))
        return torch.where(mask, (state.clean + state.severity * signs).clamp(0, 1), state.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Square3DL2(Square):
    """Square attack in the L2 ball with cubes."""

    name: ClassVar[str] = "square3d_l2"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "l2"
    summary: ClassVar[str] = (
        "Random search: moves the budget of one cube into another, kept where the margin rises."
    )

    def start(self, clean: Tensor, draws: Draws, severity: float) -> Tensor:
        """A lattice of bumps, a fifth of the grid wide, each with its own sign."""
        count, channels, *grid = clean.shape
        window = tuple(max(size // 5, 1) for size in grid)
        cells = tuple(size // side for size, side in zip(grid, window, strict=True))
        signs = draws.signs(clean.new_empty(count, channels, *cells))
        lattice = torch.kron(signs, bump(window).to(clean.device)[None, None])
        delta = torch.zeros_like(clean)
        used = tuple(slice(0, size) for size in lattice.shape[2:])
        delta[(slice(None), slice(None), *used)] = lattice
        return (clean + severity * L2_RMS.spread(delta)).clamp(0, 1)

    def propose(self, state: State, number: int) -> Tensor:
        """Erase one cube, and move its budget, with any left over, to a bump in another cube.

        A bump is positive in one half and negative in the other, across a random axis. It is added
        to what the cube held, as in the original.
        """
        count, channels, depth, height, width = state.clean.shape
        grid = (depth, height, width)
        window = cube_of(self.share(number), grid, _LEAST_BUMP)
        target = box_mask(corners(state.draws, count, window, grid), window, grid)
        source = box_mask(corners(state.draws, count, window, grid), window, grid)
        delta = state.point - state.clean
        signs = state.draws.signs(state.clean.new_empty(count, channels, 1, 1, 1))
        axes = state.draws.integers((count, 1), 3)[:, 0]
        fresh = _placed(_bumps(window, state.clean.device)[axes][:, None] * signs, target)
        held = delta * target
        energy = _energy(delta)
        free = (state.severity**2 * delta[0].numel() - energy.sum(1, keepdim=True)).clamp_min(0)
        budget = (free / channels + _energy(delta * (target | source))).sqrt()
        filled = fresh + _unit(held)
        filled = _unit(filled) * budget.view(count, channels, 1, 1, 1)
        delta = torch.where(target, filled, torch.where(source, 0.0, delta))
        return (state.clean + state.severity * L2_RMS.spread(delta)).clamp(0, 1)


def corners(draws: Draws, count: int, window: Grid, grid: Grid) -> Tensor:
    """Draw a corner (count, 3) for each volume's window, uniformly among all that fit."""
    places = [
        draws.integers((count, 1), size - side + 1) for size, side in zip(grid, window, strict=True)
    ]
    return torch.cat(places, dim=1)


@cache
def bump(window: tuple[int, ...], axis: int | None = None) -> Tensor:
    """A box that is highest in the middle, of L2 norm 1, float32 (d, h, w) on the CPU.

    It is the sum of nested boxes with heights 1, 1/2², 1/3² …; the original's are rectangles.

    Args:
        window: (d, h, w).
        axis: Where given, the two halves across this axis are bumps of opposite sign.
    """
    if axis is not None and window[axis] > 1:
        near, far = list(window), list(window)
        near[axis], far[axis] = window[axis] // 2, window[axis] - window[axis] // 2
        return _normed(torch.cat([bump(tuple(near)), -bump(tuple(far))], dim=axis))
    steps = [(torch.arange(size) - size // 2).abs() for size in window]
    ring = torch.stack(torch.meshgrid(*steps, indexing="ij")).amax(0)
    layers = [(ring <= layer) / (layer + 1) ** 2 for layer in range(max(window) // 2 + 1)]
    return _normed(torch.stack(layers).sum(0))


@cache
def _bumps(window: Grid, device: torch.device) -> Tensor:
    """A bump in two halves across each axis, float32 (3, d, h, w)."""
    return torch.stack([bump(window, axis) for axis in range(3)]).to(device)


def _normed(shape: Tensor) -> Tensor:
    return shape / shape.square().sum().sqrt()


def _placed(shapes: Tensor, mask: Tensor) -> Tensor:
    """Put boxes (n, C, d, h, w) where a mask (n, 1, D, H, W) marks boxes of the same size."""
    channels = shapes.shape[1]
    mask = mask.expand(-1, channels, -1, -1, -1)
    placed = torch.zeros(mask.shape, dtype=shapes.dtype, device=shapes.device)
    return placed.masked_scatter_(mask, shapes)


def _energy(delta: Tensor) -> Tensor:
    """Sum of squares in each channel, (n, C)."""
    lengths: Tensor = torch.linalg.vector_norm(delta.flatten(2), dim=2)
    return lengths.square()


def _unit(delta: Tensor) -> Tensor:
    """Each channel scaled to L2 norm 1; zero where it is zero."""
    size = _energy(delta).sqrt()[:, :, None, None, None]
    return delta / torch.where(size > 0, size, 1.0)
