"""One estimate of the time that a run still takes, over all workers, from what was done so far.

Work is counted in passes of a volume. What a pass takes is learned from finished work of the most
similar kind: the same network under the same perturbation, the same network, then any. An attack
that may end early teaches what its own cells take, and no others unless nothing else is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.run.engines.schedule import Training
from benchharness.run.estimate import (
    follows_judged,
    may_end_early,
    once,
    passes_of,
    training_passes,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from benchharness.datasets import Dataset
    from benchharness.run.engines.schedule import Step
    from benchharness.run.planning import Job, Plan
    from benchharness.run.weights import Weights


_ENDED_EARLY = "any that may end early"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much work a training or a cell is."""

    passes: float
    kinds: tuple[Hashable, ...]
    """What is alike, from the most similar to the widest."""
    ends_early: bool = False
    """Whether it may take fewer passes."""

    @property
    def teaches(self) -> tuple[Hashable, ...]:
        """Kinds whose pace it tells."""
        return (self.kinds[0], _ENDED_EARLY) if self.ends_early else self.kinds


@dataclass(slots=True, kw_only=True)
class _Sum:
    passes: float = 0.0
    seconds: float = 0.0


class Remaining:
    """What is left of a run.

    Args:
        plan: What is to be done.
        workers: How many share the work.
        trainings: Weights and dataset of every training, by its key.
    """

    def __init__(
        self, plan: Plan, workers: int, trainings: Mapping[Any, tuple[Weights, Dataset]]
    ) -> None:
        self._plan, self._workers, self._trainings = plan, workers, trainings
        self._counts: dict[Hashable, tuple[float, bool]] = {}
        self._first: dict[int, int | None] = {}
        self._paces: dict[Hashable, _Sum] = defaultdict(_Sum)
        self._waiting: dict[tuple[Hashable, ...], Counter[float]] = defaultdict(Counter)
        """How many have so many passes and have not begun, by kinds."""

    def expect(self, *steps: Step) -> None:
        """Say what is to be done."""
        for load in map(self._load, steps):
            self._waiting[load.kinds][load.passes] += 1

    def forget(self, *steps: Step) -> None:
        """Say what has begun, or will not."""
        for load in map(self._load, steps):
            self._waiting[load.kinds] -= Counter([load.passes])

    def stop(self) -> None:
        """Say that nothing more will begin."""
        self._waiting.clear()

    def done(self, step: Step, seconds: float) -> None:
        """Say how long something took that had begun."""
        load = self._load(step)
        for kind in load.teaches:
            self._paces[kind].passes += load.passes
            self._paces[kind].seconds += seconds

    def of(self, step: Step) -> float | None:
        """Seconds that something takes; None while nothing is known."""
        load = self._load(step)
        pace = self._pace(load.kinds)
        return None if pace is None else load.passes * pace

    def seconds(self, running: Iterable[float | None]) -> float | None:
        """Seconds until all is done; None while nothing is known.

        No run ends before its longest piece, however many workers there are.

        Args:
            running: Seconds that each piece under way still takes; None where nobody knows.
        """
        total = longest = 0.0
        for piece in running:
            if piece is None:
                return None
            total, longest = total + piece, max(longest, piece)
        for kinds, passes in self._waiting.items():
            if not passes:
                continue
            pace = self._pace(kinds)
            if pace is None:
                return None
            total += pace * sum(size * count for size, count in passes.items())
            longest = max(longest, pace * max(passes))
        return max(total / self._workers, longest)

    def _pace(self, kinds: tuple[Hashable, ...]) -> float | None:
        """Seconds of a pass, from the most similar work that was done."""
        asked = (*kinds, _ENDED_EARLY)
        found = (self._paces[kind] for kind in asked if kind in self._paces)
        return next((one.seconds / one.passes for one in found if one.passes), None)

    def _load(self, step: Step) -> Load:
        if isinstance(step, Training):
            weights, data = self._trainings[step.key]
            own = (weights.model, data.digest, "training")
            return Load(passes=training_passes(weights, data), kinds=(own, "training", "any"))
        job = self._plan.jobs[step.job]
        network = ((job.source or job.weights).model, job.dataset.digest)
        name = job.cells[step.cell].perturbation.name
        watched = step.cell == self._watched(step.job)
        key = (name, job.dataset.digest, len(job.split), watched)
        if key not in self._counts:
            self._counts[key] = self._counted(job, step.cell, watched=watched)
        passes, ends_early = self._counts[key]
        kinds = ((*network, name), network, "any")
        return Load(passes=passes, kinds=kinds, ends_early=ends_early)

    def _watched(self, number: int) -> int | None:
        """The cell of a job before which its network is watched; None where it is not."""
        if number not in self._first:
            cells = enumerate(self._plan.jobs[number].cells)
            follow = (place for place, cell in cells if follows_judged(cell, self._plan))
            try:
                self._first[number] = next(follow, None)
            except BenchError:  # as below
                self._first[number] = None
        return self._first[number]

    def _counted(self, job: Job, place: int, *, watched: bool) -> tuple[float, bool]:
        """Passes of a cell, a backward one as long as a forward one, and whether it may end early.

        Those of watching its network are in it where that is done before the cell.
        """
        cell = job.cells[place]
        try:
            cost = passes_of(cell, job, self._plan)
            ends_early = may_end_early(cell, job, self._plan)
        except BenchError:  # a user's attack may be unable to say
            return len(job.split), True
        if watched:
            cost += once(job, [cell], self._plan)
        return cost.forward + cost.backward, ends_early
