"""A plan → records: train what is missing, measure what is not recorded, append each result.

One loop drives every engine. It is the store's one writer, and resumes by leaving out what is
recorded.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import in_one_line
from benchharness.run import engines, measuring
from benchharness.run.engines.engine import WorkerDied
from benchharness.run.engines.schedule import Place, Schedule, Todo, Training
from benchharness.run.engines.tasks import Measure, Train, Trained, Unloadable
from benchharness.run.ledger import Ledger
from benchharness.run.planning import plan
from benchharness.store.cells import describe
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Engine
    from benchharness.run.engines.schedule import Step
    from benchharness.run.engines.tasks import Result, Said, Task
    from benchharness.run.ledger import Checkpoint
    from benchharness.run.planning import Job, Plan
    from benchharness.run.progress import Display
    from benchharness.run.progress import Task as Bar
    from benchharness.run.summary import Summary
    from benchharness.run.weights import Weights

DEATHS = 3
"""After so many workers died of it, a task is not tried again."""

_TICK_S = 0.1
"""How often what workers say is shown, at least."""


def run(
    config: RunConfig, display: Display, *, stop: Callable[[], bool] = lambda: False
) -> Summary:
    """Run every cell of a config that is not recorded yet.

    Args:
        config: What to run.
        display: Where progress is shown.
        stop: Asked before every training and every cell; nothing more is started once it is true.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    engines.check(config)
    planned = plan(config)
    Store(config.out).records()  # A store that cannot be read is refused before it is locked.
    for note in planned.notes:
        display.note(note)
    ledger = _driven(config, planned, display, stop)
    return ledger.summary()


def train(config: RunConfig, display: Display) -> Summary:
    """Train every checkpoint of a config that is missing.

    Raises:
        BenchError: As `run`.
    """
    engines.check(config)
    return _driven(config, plan(config), display, None).summary(cells=False)


def recorded_identities(store: Store) -> set[str]:
    """Cells that need not run again: measured, with their predictions as they were recorded."""
    return set(store.recorded().sound)


def _driven(
    config: RunConfig, planned: Plan, display: Display, stop: Callable[[], bool] | None
) -> Ledger:
    """Do what a plan lacks; only its trainings where `stop` is None."""
    engine = engines.choose(config, planned, display.note)
    store = Store(config.out)
    with store.writing(), display, engine:
        setting = measuring.Setting(
            device=engine.workers[0].device, batch_size=config.batch_size, compiled=config.compile
        )
        ledger = Ledger(planned, store, setting, display.note)
        _Driver(planned, engine, ledger, display, stop).drive()
    return ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What a worker is doing."""

    step: Step
    task: Task
    name: str
    bar: Bar
    future: Future[Result]


class _Driver:
    """Hands out the work of a plan and takes in what comes back, under the store's lock."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        ledger: Ledger,
        display: Display,
        stop: Callable[[], bool] | None,
    ) -> None:
        self.plan, self.engine, self.ledger, self.display = plan, engine, ledger, display
        self.cells = stop is not None
        self.stop = stop or (lambda: False)
        self.stopped = False
        self.running: dict[int, _Running] = {}
        self.deaths: Counter[Step | None] = Counter()
        """Of workers, by what they did; None for those that never started."""
        self.trainings: dict[Checkpoint, tuple[Weights, Job]] = {}
        needs = [self._needs(number) for number in range(len(plan.jobs))]
        self.waiting = [number for number, found in enumerate(needs) if found is not None]
        """Jobs whose cells have no final names yet."""
        self.schedule = Schedule(
            [found or {} for found in needs], trainings_first=len(engine.workers) > 1
        )

    def _needs(self, number: int) -> dict[Checkpoint, Weights] | None:
        """The trainings that a job waits for; None where all is recorded."""
        job = self.plan.jobs[number]
        if all(map(self.ledger.is_recorded, job.cells)):
            return None
        needs = self.ledger.needs(number)
        for key, weights in needs.items():
            self.trainings.setdefault(key, (weights, job))
        return needs

    def drive(self) -> None:
        """Do everything, or what `stop` allows."""
        if self.cells:
            self.display.start(total=len(self.plan.cells), done=self.ledger.before)
            self.ledger.keep_metadata()
        self._open_jobs()
        while True:
            self._begin()
            if not self.running and not self._has_waiting():
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

    def _give_up(self, number: int, places: list[int], reason: str) -> None:
        self.ledger.give_up(number, places, reason)
        self.display.advance(len(places))

    def _begin(self) -> None:
        """Give every idle worker that has started something to do."""
        for worker in range(len(self.engine.workers)):
            while worker not in self.running:
                if not self.stopped and self._has_waiting() and self.stop():
                    self.stopped = True
                    self.ledger.skipped += self.schedule.stop()
                if not self._has_started(worker):
                    break
                step = self.schedule.next(worker)
                if step is None:
                    break
                if isinstance(step, Training):
                    self._begin_training(worker, step)
                else:
                    self._begin_cell(worker, step)

    def _has_waiting(self) -> bool:
        return any(self.schedule.waiting())

    def _has_started(self, worker: int) -> bool:
        """Whether a worker can work; what never could is replaced.

        A worker of a cluster may wait for long, and a task is not to wait with it.
        """
        started = self.engine.workers[worker].started
        if not started.done():
            return False
        try:
            started.result()
        except WorkerDied as death:
            self.deaths[None] += 1
            if self.deaths[None] == DEATHS:
                said = f" ({death})" if str(death) else ""
                raise BenchError(
                    f"workers cannot be started here{said}. Leave out --workers."
                ) from None
            self.engine.replace(worker)
            return False
        return True

    def _begin_training(self, worker: int, step: Training) -> None:
        weights, job = self.trainings[step.key]
        if self.ledger.found_card(step.key, weights, job.dataset.name):
            self.schedule.settled(worker)
            self._open_jobs()
            return
        assert weights.recipe is not None
        name = f"{weights.model.name} on {job.dataset.name}"
        self.display.note(
            f"training {name}: no checkpoint in {self.ledger.store.directory} yet "
            f"(recipe {weights.recipe.name}, seed {weights.seed})"
        )
        task = Train(weights=weights, data=job.data)
        self._submit(worker, step, task, f"train {name}", weights.recipe.epochs)

    def _begin_cell(self, worker: int, step: Place) -> None:
        job = self.ledger.jobs[step.job]
        cell = job.cells[step.cell]
        if damage := self.ledger.damaged.get(cell.identity):
            self.display.note(f"{describe(cell)} was recorded, but is run again: {damage}")
        try:
            before = self.ledger.before_of(step.job, step.cell)
        except CellError as error:
            self.schedule.settled(worker)
            self._append(self.ledger.failure(step.job, step.cell, str(error)))
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
            batch_size=self.ledger.setting.batch_size,
            compiled=self.ledger.setting.compiled,
        )
        self._submit(worker, step, task, describe(cell), len(job.split))

    def _submit(self, worker: int, step: Step, task: Task, name: str, total: int) -> None:
        bar = self.display.begin(name, total=total)

        def hear(said: Said) -> None:
            if said.note:
                self.display.note(said.note)
            else:
                bar.reach(said.done, said.detail, seconds_left=said.seconds_left)

        future = self.engine.workers[worker].submit(task, hear)
        self.running[worker] = _Running(step=step, task=task, name=name, bar=bar, future=future)

    def _await(self) -> None:
        """Wait for the first result, and show meanwhile what workers say."""
        futures: list[Future[Any]] = [one.future for one in self.running.values()]
        if self._has_waiting():
            futures += [one.started for one in self.engine.workers if not one.started.done()]
        wait(futures, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        done = [worker for worker, one in self.running.items() if one.future.done()]
        for one in self.engine.workers:
            one.listen()
        for worker in done:
            self._finish(worker, self.running.pop(worker))

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

    def _append(self, measured: measuring.Measured) -> None:
        self.ledger.append(measured)
        self.display.advance(1)

    def _failed(self, step: Step, reason: str) -> None:
        """A step has ended without a result: one error record, or a training's cells given up."""
        if isinstance(step, Place):
            self._append(self.ledger.failure(step.job, step.cell, reason))
            return
        weights, job = self.trainings[step.key]
        name = f"{weights.model.name} on {job.dataset.name}"
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
        self.deaths[one.step] += 1
        again = self.deaths[one.step] < DEATHS
        said = f" ({cause})" if cause else ""
        self.schedule.lost(worker, again=again)
        self.engine.replace(worker)
        if again:
            self.display.note(f"a worker died in {one.name}{said}: it is run again")
        else:
            self._failed(one.step, f"its worker died {_TIMES[DEATHS]}{said}")


_TIMES = {3: "three times"}
