"""Which worker does what next: trainings, then the cells that need them.

Pure bookkeeping over numbers, without processes, networks or a store. Jobs and their cells are
known by their places in the plan, trainings by any key. A worker keeps to the job whose networks it
holds; an idle one takes a new job, and when none is left helps the job with most cells left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A worker trains a checkpoint."""

    key: Any
    """Names it; hashable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker measures a cell."""

    job: int
    cell: int


Step = Training | Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """What the schedule must know of a cell that is to be measured."""

    rests_on: frozenset[int] = frozenset()
    """Cells of the same job without whose results it cannot begin."""
    shares: Hashable = None
    """What a first cell makes for others too, such as corrupted volumes; None for nothing. Two
    workers that began with the same would wait for each other."""


@dataclass(slots=True, kw_only=True)
class _Job:
    """What is left of a job whose networks exist."""

    todo: dict[int, Todo]
    """Cells not begun yet, by place."""
    running: dict[int, Todo] = field(default_factory=dict)

    def ready(self) -> Iterator[int]:
        """Cells that rest on none that is still to come, in order."""
        unsettled = self.todo.keys() | self.running.keys()
        return (cell for cell, one in sorted(self.todo.items()) if not one.rests_on & unsettled)


class Schedule:
    """The work that is left, and who does which part of it.

    Args:
        needs: For every job, in order, the trainings that it waits for.
        trainings_first: Whether every training begins before any cell, as is best for several
            workers. Otherwise the jobs are done one after the other, each after its trainings.
        starts: The training without which another cannot begin.
    """

    def __init__(
        self,
        needs: Sequence[Iterable[Any]],
        *,
        trainings_first: bool,
        starts: Mapping[Any, Any] | None = None,
    ) -> None:
        self._starts = dict(starts or {})
        self._needs = [dict.fromkeys(keys) for keys in needs]
        self._trainings = dict.fromkeys(key for keys in self._needs for key in keys)
        """Not begun yet, in order."""
        self._first = trainings_first
        self._jobs: dict[int, _Job] = {}
        self._doing: dict[int, Step] = {}
        """What each busy worker does."""
        self._holds: dict[int, int] = {}
        """The job whose networks each worker has loaded."""

    def open(self, job: int, todo: Mapping[int, Todo]) -> None:
        """Let the cells of a job begin, by place; its trainings are done."""
        self._jobs[job] = _Job(todo=dict(todo))

    def next(self, worker: int) -> Step | None:
        """Begin what an idle worker should do now; None while there is nothing for it."""
        assert worker not in self._doing
        step = self._chosen(worker)
        if isinstance(step, Training):
            del self._trainings[step.key]
            self._holds.pop(worker, None)
        elif step is not None:
            job = self._jobs[step.job]
            job.running[step.cell] = job.todo.pop(step.cell)
            self._holds[worker] = step.job
        if step is not None:
            self._doing[worker] = step
        return step

    def settled(self, worker: int) -> None:
        """A worker has done its step; what rests on that may begin."""
        step = self._doing.pop(worker)
        if isinstance(step, Place):
            del self._jobs[step.job].running[step.cell]

    def lost(self, worker: int, *, again: bool) -> None:
        """A worker has died. Its step goes back, unless it shall not be tried `again`."""
        step = self._doing[worker]
        if again and isinstance(step, Training):
            self._trainings = {step.key: None} | self._trainings
        elif again and isinstance(step, Place):
            job = self._jobs[step.job]
            job.todo[step.cell] = job.running[step.cell]
        self.settled(worker)
        self._holds.pop(worker, None)

    def drop(self, job: int) -> list[int]:
        """Give up the cells of a job that have not begun."""
        if job not in self._jobs:
            return []
        dropped = sorted(self._jobs[job].todo)
        self._jobs[job].todo.clear()
        return dropped

    def stop(self) -> int:
        """Begin nothing more; the number of cells of open jobs that will not begin."""
        self._trainings.clear()
        self._needs = [{} for _ in self._needs]
        return sum(len(self.drop(job)) for job in self._jobs)

    def waiting(self) -> Iterator[Step]:
        """Trainings, and cells of open jobs, that have not begun."""
        yield from (Training(key=key) for key in self._trainings)
        for number, job in self._jobs.items():
            yield from (Place(job=number, cell=cell) for cell in job.todo)

    def _chosen(self, worker: int) -> Step | None:
        if self._first and (ready := self._trainable(self._trainings)):
            return ready[0]
        held = self._holds.get(worker)
        if held is not None and (step := self._of_job(held)):
            return step
        if not self._first:
            return next(self._in_order(), None)
        taken = {job for other, job in self._holds.items() if other != worker}
        jobs = sorted(self._jobs.items(), key=lambda item: _preference(item[0], item[1], taken))
        return next(filter(None, (self._of_job(number) for number, _ in jobs)), None)

    def _trainable(self, keys: Iterable[Any]) -> list[Training]:
        """Trainings that start from none that is still to be done."""
        doing = {step.key for step in self._doing.values() if isinstance(step, Training)}
        unsettled = self._trainings.keys() | doing
        return [Training(key=key) for key in keys if self._starts.get(key) not in unsettled]

    def _in_order(self) -> Iterator[Step]:
        """For the first job that has anything to do: its training, else its cell."""
        for number, needs in enumerate(self._needs):
            yield from self._trainable(key for key in needs if key in self._trainings)
            if step := self._of_job(number):
                yield step

    def _of_job(self, number: int) -> Place | None:
        """The next cell of a job: one that does not make what another worker is making."""
        job = self._jobs.get(number)
        ready = [] if job is None else list(job.ready())
        if not ready:
            return None
        assert job is not None
        made = {
            self._jobs[step.job].running[step.cell].shares
            for step in self._doing.values()
            if isinstance(step, Place)
        } - {None}
        free = (cell for cell in ready if job.todo[cell].shares not in made)
        return Place(job=number, cell=next(free, ready[0]))


def _preference(number: int, job: _Job, taken: set[int]) -> tuple[bool, int, int]:
    """New jobs in their order, then those of others, the longest first."""
    return (True, -len(job.todo), number) if number in taken else (False, number, 0)
