"""The search that the sparse attacks share: few voxels change, and the rest stay as they are.

On binary shape masks these are the realistic threat: single flipped voxels, a local fault or
tampering. A threshold at 0.5 undoes every L∞ perturbation below 0.5 there.

The gradient ranks candidates, and forward passes score the best of them exactly: over a step from
one end of [0, 1] to the other, a first-order gain is often far off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.objectives import STOPS_ONCE_BROKEN, Worst, evaluate, margin
from benchharness.attacks.core.observation import zero_gradient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from benchharness.attacks.core.objectives import Objective

    Points = Callable[[Tensor, Tensor], Tensor]

SINGLES = 64
"""Single voxels that a round scores."""
_RUNGS = (1, 2, 4, 16, 64)
_GOLDEN = 0.618033988749895


def rungs(severity: float) -> tuple[int, ...]:
    """The sizes that are searched for a severity: 1, 2, 4, 16 and 64 below it, and itself."""
    size = int(severity)
    return (*(rung for rung in _RUNGS if rung < size), size)


def extremes(points: Tensor, gradient: Tensor) -> Tensor:
    """The end of [0, 1] that raises the objective; the farther one where the gradient is zero."""
    farther = (points < 0.5).to(points.dtype)
    return torch.where(gradient > 0, 1.0, torch.where(gradient < 0, 0.0, farther))


def gains(points: Tensor, gradient: Tensor, goals: Tensor) -> Tensor:
    """First-order gain of taking each voxel to its goal, summed over channels, (B, D, H, W).

    It is −∞ where nothing would change.
    """
    step = goals - points
    gain = (gradient * step).sum(1)
    return gain.masked_fill((step == 0).all(1), -torch.inf)


def ranked(scores: Tensor, count: int) -> Tensor:
    """The places of the largest scores (B, N), best first, (B, ≤ count).

    Equal scores, as those of a network without a gradient are, come in an order that spreads over
    the volume: the search is then one by scores alone.
    """
    spread = (torch.arange(scores.shape[1], device=scores.device) * _GOLDEN % 1).argsort()
    order = scores[:, spread].argsort(dim=1, descending=True, stable=True)
    return spread[order[:, :count]]


class Search:
    """The volumes of a batch that still stand, and the worst point seen of each.

    Args:
        batch: What is attacked.

    Attributes:
        first: The margin and its gradient at the clean volumes.
        worst: The worst point of every volume.
        queries: (B,), the candidates scored for each volume.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.first = evaluate(batch.classifier, batch.volumes, batch.labels, margin)
        self.worst = Worst(batch.volumes)
        self.worst.offer(batch.volumes, self.first.values, self.first.broken)
        self.queries = torch.zeros_like(batch.labels)

    @property
    def standing(self) -> Tensor:
        """The volumes that no point has broken, as indices (n,)."""
        return (~self.worst.broken).nonzero()[:, 0]

    def gradient(self, rows: Tensor, points: Tensor) -> Tensor:
        """The gradient of the margin at points (n, C, D, H, W) of the volumes `rows` (n,)."""
        batch = self.batch
        return evaluate(batch.classifier, points, batch.labels[rows], margin).gradient

    def scores(self, rows: Tensor, count: int, points: Points) -> Tensor:
        """Score candidates 0..count−1 of each volume in order, until the volume breaks.

        As many are passed at once as the batch has volumes, so that those that stand fill it.

        Args:
            rows: (n,), volumes of the batch that stand.
            count: Candidates for each.
            points: Maps indices into `rows` (m,) and numbers of candidates (m,) to the candidates
                (m, C, D, H, W).

        Returns:
            The margins (n, count); −∞ for what comes after the candidate that breaks a volume.
        """
        scores = self.worst.values.new_full((len(rows), count), -torch.inf)
        left, begin = torch.arange(len(rows), device=rows.device), 0
        while begin < count and len(left) > 0:
            end = min(count, begin + max(1, len(self.batch.volumes) // len(left)))
            numbers = torch.arange(begin, end, device=rows.device)
            volumes = points(left.repeat_interleave(len(numbers)), numbers.repeat(len(left)))
            labels = self.batch.labels[rows[left]].repeat_interleave(len(numbers))
            with torch.no_grad():
                logits = self.batch.classifier(volumes).float()
            values = margin(logits, labels).view(len(left), -1)
            broken = (logits.argmax(1) != labels).view(len(left), -1)
            fooled = broken.any(1)
            # What comes after the first that breaks a volume depends on how many pass at once.
            place = torch.where(fooled, broken.int().argmax(1), values.argmax(1))
            last = torch.where(fooled, place, len(numbers) - 1)[:, None]
            seen = torch.arange(len(numbers), device=rows.device) <= last
            scores[left, begin:end] = values.masked_fill(~seen, -torch.inf)
            self.queries[rows[left]] += seen.sum(1)
            offered = volumes[torch.arange(len(left), device=rows.device) * len(numbers) + place]
            reached = values.gather(1, place[:, None])[:, 0]
            self.worst.offer(offered, reached, fooled, rows[left])
            left, begin = left[~fooled], end
        return scores


class Rung(ABC):
    """The search at one size: what it has reached, and how it goes on.

    Args:
        search: Of the whole batch.

    Attributes:
        point: (B, C, D, H, W), the best of this size.
        value: (B,), its margin.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.clean = search.batch.volumes
        self.point = self.clean.clone()
        self.value = search.first.values.clone()

    @abstractmethod
    def advance(self) -> None:
        """Go on for one round with the volumes that stand."""

    def score(self, rows: Tensor, count: int, points: Points) -> tuple[Tensor, Tensor, Tensor]:
        """Score candidates of the volumes `rows` (n,), and keep the best where it is better.

        Returns:
            The margins (n, count), as `Search.scores` gives them; the indices into `rows` of the
            volumes that have a better point (m,); the number of their candidate (m,).
        """
        scores = self.search.scores(rows, count, points)
        value, number = scores.max(1) if count else (self.value[rows], torch.zeros_like(rows))
        better = (value > self.value[rows]).nonzero()[:, 0]
        self.value[rows[better]] = value[better]
        if len(better):
            self.point[rows[better]] = points(better, number[better])
        return scores, better, number[better]


class SingleVoxels(Rung):
    """One voxel at 0 or 1, in the order of first-order gain, as many as the rounds take.

    Args:
        search: Of the whole batch.
        rounds: How often it will advance.
    """

    def __init__(self, search: Search, rounds: int) -> None:
        super().__init__(search)
        gradient = search.first.gradient
        self.ends = extremes(self.clean, gradient)
        both = [gains(self.clean, gradient, ends).flatten(1) for ends in (self.ends, 1 - self.ends)]
        self.order = ranked(torch.cat(both, dim=1), rounds * SINGLES)
        self.done = 0
        self.scores = torch.full(self.order.shape, -torch.inf, device=self.order.device)

    def best(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The voxels scored so far, best first, and what each gains; (n, done).

        A voxel whose other end scores higher comes after all others and gains −∞.
        """
        scores, ranking = self.scores[rows, : self.done].sort(dim=1, descending=True, stable=True)
        order = self.order[rows].gather(1, ranking)
        voxel = order % self.clean[0, 0].numel()
        again = (voxel[:, :, None] == voxel[:, None, :]).tril(-1).any(2)
        scores = scores.masked_fill(again, -torch.inf)
        scores, ranking = scores.sort(dim=1, descending=True, stable=True)
        return order.gather(1, ranking), scores - self.search.first.values[rows, None]

    def advance(self) -> None:
        """Score the next voxels."""
        rows = self.search.standing
        begin, self.done = self.done, min(self.done + SINGLES, self.order.shape[1])
        clean, ends = self.clean[rows].flatten(2), self.ends[rows].flatten(2)
        order = self.order[rows, begin : self.done]

        def points(which: Tensor, numbers: Tensor) -> Tensor:
            chosen = order[which, numbers]
            voxel = chosen % clean.shape[2]
            volumes, items = clean[which], torch.arange(len(which), device=which.device)
            goal = ends[which, :, voxel]
            other = (chosen >= clean.shape[2])[:, None]
            volumes[items, :, voxel] = torch.where(other, 1 - goal, goal)
            return volumes.view(-1, *self.clean.shape[1:])

        self.scores[rows, begin : self.done] = self.score(rows, self.done - begin, points)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse(Attack):
    """Search at several sizes up to the severity, side by side, until the volume breaks.

    A round goes on at every size, and what it does depends neither on larger sizes nor on later
    rounds. More rounds therefore break no volume fewer, and nor does a larger severity than 1, 2,
    4, 16 or 64.
    """

    auc_undefined: ClassVar[str] = STOPS_ONCE_BROKEN
    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)
    smallest: ClassVar[Cost] = Cost(forward=SINGLES, backward=0)
    """Passes of a round at size 1."""
    larger: ClassVar[Cost]
    """Passes of a round at any other size."""

    rounds: int = parameter(4, low=1)
    """Rounds at every size; each scores 64 single voxels, and candidates of larger sizes."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for the clean volume, and every round at six sizes, one of them 1.

        Smaller severities search at fewer sizes, and a volume that breaks is left alone.
        """
        every = self.smallest + self.larger * len(_RUNGS)
        return Cost(forward=1, backward=1) + every * self.rounds

    @abstractmethod
    def ladder(self, search: Search, sizes: Sequence[int]) -> list[Rung]:
        """The rungs for sizes in ascending order."""

    def perturb(self, batch: Batch) -> Tensor:
        """Advance every size in turn, round by round."""
        search = Search(batch)
        ladder = self.ladder(search, rungs(batch.severity))
        for _ in range(self.rounds):
            for rung in ladder:
                if len(search.standing) > 0:
                    rung.advance()
        batch.findings.update(
            zero_gradient=zero_gradient(search.first.gradient), queries=search.queries
        )
        return search.worst.volumes
