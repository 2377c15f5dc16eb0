"""The loop that drives every engine: hand out work, take in results, write them.

It is the store's one writer, and runs in one thread.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import in_one_line
from benchharness.run.engines.engine import WorkerDied
from benchharness.run.engines.schedule import Place, Schedule, Todo, Training
from benchharness.run.engines.tasks import Measure, Train, Trained, Unloadable
from benchharness.run.ledger import checkpoint_of
from benchharness.run.remaining import Remaining
from benchharness.store.cells import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from benchharness.run.engines.engine import Engine
    from benchharness.run.engines.schedule import Step
    from benchharness.run.engines.tasks import Result, Said, Task
    from benchharness.run.ledger import Checkpoint, Ledger
    from benchharness.run.measuring import Measured, Setting
    from benchharness.run.planning import Job, Plan
    from benchharness.run.progress import Display
    from benchharness.run.progress import Task as Bar
    from benchharness.run.weights import Weights

DEATHS, _TIMES = 3, "three times"
"""After so many workers died of it, a task is not tried again."""

_ESTIMATE_S = 1.0
"""How often the time left is estimated, at most."""

_TICK_S = 0.1
"""How often what workers say is shown, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What a worker is doing."""

    step: Step
    task: Task
    name: str
    bar: Bar
    future: Future[Result]


class Driver:
    """Hands out the work of a plan and takes in what comes back, under the store's lock."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        ledger: Ledger,
        setting: Setting,
        display: Display,
        stop: Callable[[], bool] | None,
    ) -> None:
        self.plan, self.engine, self.ledger, self.display = plan, engine, ledger, display
        self.setting = setting
        """How the first worker measures: for tasks, and for records of what no worker could do."""
        self.workers = engine.workers
        self.cells = stop is not None
        self.stop = stop or (lambda: False)
        self.stopped = False
        self.running: dict[int, _Running] = {}
        self.started: set[int] = set()
        """Workers that are known to have started."""
        self.deaths: Counter[Step | None] = Counter()
        """Of workers, by what they did; None for those that never started."""
        self.trainings: dict[Checkpoint, tuple[Weights, Job]] = {}
        needs = [self._needs(number) for number in range(len(plan.jobs))]
        self.waiting = [number for number, found in enumerate(needs) if found is not None]
        """Jobs whose cells have no final names yet."""
        self.schedule = Schedule(
            [found or {} for found in needs],
            trainings_first=len(engine.workers) > 1,
            starts={
                key: checkpoint_of(weights.start, job)
                for key, (weights, job) in self.trainings.items()
                if weights.start is not None
            },
        )
        trained = {key: (weights, job.dataset) for key, (weights, job) in self.trainings.items()}
        self.remaining = Remaining(plan, len(engine.workers), trained)
        self.told = -math.inf
        """When the time left was estimated."""

    def _needs(self, number: int) -> dict[Checkpoint, Weights] | None:
        """The trainings that a job waits for; None where all is recorded."""
        job = self.plan.jobs[number]
        if not self.ledger.left(number):
            return None
        needs = self.ledger.needs(number)
        for key, weights in needs.items():
            self.trainings.setdefault(key, (weights, job))
        return needs

    def drive(self) -> None:
        """Do everything, or what `stop` allows."""
        self.remaining.expect(*(Training(key=key) for key in self.trainings))
        if self.cells:
            for number in self.waiting:
                self.remaining.expect(*self._places(number, self.ledger.left(number)))
            self.display.start(total=len(self.plan.cells), done=self.ledger.before)
            self.ledger.keep_metadata()
        self._open_jobs()
        while True:
            self._begin()
            waits = any(self.schedule.waiting()) and not all(one.ready for one in self.workers)
            if not self.running and not waits:
                break
            self._await()
        for number in self.waiting if self.cells else ():
            self.ledger.skip_job(number)

    def _open_jobs(self) -> None:
        """Let the cells of every job begin whose trainings are done."""
        still = []
        for number in self.waiting:
            if self.ledger.needs(number):
                still.append(number)
            elif self.cells:
                self._open(number)
        self.waiting = still

    def _open(self, number: int) -> None:
        self.remaining.forget(*self._places(number, self.ledger.left(number)))
        self.ledger.resolve(number)
        left = self.ledger.left(number)
        if reason := self.ledger.why_not(number):
            self._give_up(number, left, reason)
        elif self.stopped:
            self.ledger.skipped += len(left)
        else:
            cells = self.ledger.jobs[number].cells
            todo = {}
            for place in left:
                artefact = cells[place].perturbation.kind == "artefact"
                todo[place] = Todo(
                    rests_on=frozenset(self.ledger.rests_on(number, place)),
                    shares=(cells[place].dataset, cells[place].perturbation) if artefact else None,
                )
            self.schedule.open(number, todo)
            self.remaining.expect(*self._places(number, left))

    @staticmethod
    def _places(number: int, places: list[int]) -> list[Step]:
        return [Place(job=number, cell=place) for place in places]

    def _give_up(self, number: int, places: list[int], reason: str) -> None:
        self.ledger.give_up(number, places, reason, self.setting)
        self.display.advance(len(places))

    def _begin(self) -> None:
        """Give every idle worker something to do."""
        for worker in range(len(self.engine.workers)):
            while worker not in self.running:
                if not self.stopped and any(self.schedule.waiting()) and self.stop():
                    self.stopped = True
                    self.ledger.skipped += self.schedule.stop()
                    self.remaining.stop()
                if not self.workers[worker].ready:
                    break
                step = self.schedule.next(worker)
                if step is None:
                    break
                self.remaining.forget(step)
                if isinstance(step, Training):
                    self._begin_training(worker, step)
                else:
                    self._begin_cell(worker, step)

    def _begin_training(self, worker: int, step: Training) -> None:
        weights, job = self.trainings[step.key]
        if self.ledger.found_card(step.key, weights, weights.on(job.dataset)[0]):
            self.schedule.settled(worker)
            self._open_jobs()
            return
        if reason := self.ledger.broken_start(weights, job):
            self.schedule.settled(worker)
            self._failed(step, f"what it starts from failed: {reason}")
            return
        assert weights.recipe is not None
        name = f"{weights.model.name} on {weights.on(job.dataset)[0]}"
        self.display.note(
            f"training {name}: no checkpoint in {self.ledger.store.directory} yet "
            f"(recipe {weights.recipe.name}, seed {weights.seed})"
        )
        data = job.data if weights.home is None else weights.home.material
        task = Train(weights=weights, data=data)
        self._submit(worker, step, task, f"train {name}", weights.recipe.epochs)

    def _begin_cell(self, worker: int, step: Place) -> None:
        job = self.ledger.jobs[step.job]
        cell = job.cells[step.cell]
        if damage := self.ledger.damage(step.job, step.cell):
            self.display.note(f"{describe(cell)} was recorded, but is run again: {damage}")
        try:
            before = self.ledger.before_of(step.job, step.cell)
        except CellError as error:
            self.schedule.settled(worker)
            self._append(self.ledger.failure(step.job, step.cell, str(error), self.setting))
            return
        task = Measure(
            job=step.job,
            weights=job.weights,
            source=job.source,
            data=job.data,
            limits=job.limits,
            cell=cell,
            perturbation=self.plan.perturbations.get(cell.perturbation.name),
            before=before,
            batch_size=self.setting.batch_size,
            compiled=self.setting.compiled,
        )
        self._submit(worker, step, task, describe(cell), len(job.split))

    def _submit(self, worker: int, step: Step, task: Task, name: str, total: int) -> None:
        bar = self.display.begin(name, total=total)

        def hear(said: Said) -> None:
            if said.note:
                self.display.note(said.note)
            else:
                bar.reach(said.done, said.detail, seconds_left=said.seconds_left)

        at = self.workers[worker]
        if at.started.done():
            self.started.add(worker)
        future = at.submit(task, hear)
        self.running[worker] = _Running(step=step, task=task, name=name, bar=bar, future=future)

    def _await(self) -> None:
        """Wait for the first result, and show meanwhile what workers say."""
        coming = [one for one in self.workers if not one.ready]
        futures: list[Future[Any]] = [one.future for one in self.running.values()]
        futures += [one.started for one in coming]
        wait(futures, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        done = [worker for worker, one in self.running.items() if one.future.done()]
        for worker in self.running:
            self._listen(worker)
        for one in coming:
            one.listen()
        if time.monotonic() - self.told > _ESTIMATE_S:
            self.told = time.monotonic()
            self.display.left(self.remaining.seconds(map(self._left, self.running.values())))
        for worker in done:
            self._finish(worker, self.running.pop(worker))
            self._begin()  # before the next result is written, so that nobody waits for that

    def _listen(self, worker: int) -> None:
        at, one = self.workers[worker], self.running[worker]
        if worker not in self.started and at.started.done():
            self.started.add(worker)
            one.bar.restart()  # its start is no part of the task
        at.listen()

    def _left(self, one: _Running) -> float | None:
        """Seconds that something still takes, by its own pace or by what was like it."""
        if one.bar.left is not None:
            return one.bar.left
        usual = self.remaining.of(one.step)
        return None if usual is None else max(0.0, usual - one.bar.seconds)

    def _finish(self, worker: int, one: _Running) -> None:
        try:
            result = one.future.result()
        except WorkerDied as death:
            one.bar.end(done=False)
            self._died(worker, one, str(death))
            return
        except Exception as error:
            if isinstance(one.step, Training) and isinstance(error, BenchError):
                raise
            one.bar.end(done=False)
            self.schedule.settled(worker)
            self._failed(one.step, in_one_line(error))
            return
        one.bar.end(done=not isinstance(result, Unloadable))
        self.remaining.done(one.step, one.bar.seconds)
        self.schedule.settled(worker)
        if isinstance(result, Trained):
            assert isinstance(one.step, Training)
            self.ledger.has_trained(one.step.key, result.sha256)
            self._open_jobs()
        elif isinstance(result, Unloadable):
            assert isinstance(one.step, Place)
            self._unloadable(one.step, result.reason)
        else:
            self._append(result)

    def _append(self, measured: Measured) -> None:
        self.ledger.append(measured)
        self.display.advance(1)

    def _failed(self, step: Step, reason: str) -> None:
        """A step has ended without a result: one error record, or a training's cells given up."""
        if isinstance(step, Place):
            self._append(self.ledger.failure(step.job, step.cell, reason, self.setting))
            return
        weights, job = self.trainings[step.key]
        name = f"{weights.model.name} on {weights.on(job.dataset)[0]}"
        self.ledger.training_failed(step.key, name, reason)
        self._open_jobs()

    def _unloadable(self, step: Place, reason: str) -> None:
        """Give up the cells of a job whose networks cannot be loaded, and of others with them."""
        self.ledger.unloadable(step.job, self.ledger.jobs[step.job].cells[step.cell], reason)
        self._give_up(step.job, [step.cell, *self.schedule.drop(step.job)], reason)
        for number in range(len(self.ledger.jobs)):
            if why := self.ledger.why_not(number):
                self._give_up(number, self.schedule.drop(number), why)

    def _died(self, worker: int, one: _Running, cause: str) -> None:
        """Put another worker in the place of one that died, and its step back."""
        started = self.workers[worker].started
        begun = started.done() and started.exception() is None
        blamed = one.step if begun else None
        self.deaths[blamed] += 1
        again = self.deaths[blamed] < DEATHS
        said = f" ({cause})" if cause else ""
        if not begun and not again:
            raise BenchError(f"workers cannot be started here{said}. Leave out --workers.")
        self.schedule.lost(worker, again=again)
        self.engine.replace(worker)
        self.started.discard(worker)
        if again:
            self.remaining.expect(one.step)
            self.display.note(f"a worker died in {one.name}{said}: it is run again")
        else:
            self._failed(one.step, f"its worker died {_TIMES}{said}")
