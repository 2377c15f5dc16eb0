"""One estimate of the time that a run still takes, over all workers, from what was done so far.

Work is counted in passes of a volume. What a pass takes is learned from finished work of the most
similar kind: the same network under the same perturbation, the same network, then any.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.run.engines.schedule import Training
from benchharness.run.estimate import passes_of
from benchharness.run.forecast import training_passes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from benchharness.datasets import Dataset
    from benchharness.run.engines.schedule import Step
    from benchharness.run.planning import Job, Plan
    from benchharness.run.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much work a training or a cell is."""

    passes: float
    kinds: tuple[Hashable, ...]
    """What is alike, from the most similar to the widest."""


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
        self._passes: dict[Hashable, float] = {}
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
        for kind in load.kinds:
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
        found = (self._paces[kind] for kind in kinds if kind in self._paces)
        return next((one.seconds / one.passes for one in found if one.passes), None)

    def _load(self, step: Step) -> Load:
        if isinstance(step, Training):
            weights, data = self._trainings[step.key]
            own = (weights.model, data.digest, "training")
            return Load(passes=training_passes(weights, data), kinds=(own, "training", "any"))
        job = self._plan.jobs[step.job]
        network = ((job.source or job.weights).model, job.dataset.digest)
        name = job.cells[step.cell].perturbation.name
        key = (name, job.dataset.digest, len(job.split))
        if key not in self._passes:
            self._passes[key] = self._counted(job, step.cell)
        return Load(passes=self._passes[key], kinds=((*network, name), network, "any"))

    def _counted(self, job: Job, place: int) -> float:
        """Passes of a cell through its network, a backward one as long as a forward one."""
        try:
            cost = passes_of(job.cells[place], job, self._plan)
        except BenchError:  # a user's attack may be unable to say
            return len(job.split)
        return cost.forward + cost.backward
