"""Workers on a Ray cluster, whose nodes share no files with the driver.

Every worker is an actor. Data and weights go into Ray's object store once, and each node takes them
from there once. A lost actor is replaced; one that waits for room on a node is given no task.
"""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import time
import uuid
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchharness import machine
from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import in_one_line
from benchharness.run.engines import cluster, remote, user_code
from benchharness.run.engines.engine import Started, WorkerDied, failed
from benchharness.run.engines.interrupts import FirstInterrupt
from benchharness.run.engines.supply import Supply, keep
from benchharness.run.engines.tasks import Said

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeVar

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Hear
    from benchharness.run.engines.remote import Answer
    from benchharness.run.engines.tasks import Result, Task
    from benchharness.run.planning import Plan

    Value = TypeVar("Value")

_LISTEN_S = 0.5
"""Seconds between two questions to the ear."""

_PATIENCE_S = 20.0
"""Seconds after which the user is told that workers wait for room."""

_CLEAR_S = 5.0
"""Seconds that nodes have for removing what they were sent."""

_SENT = re.compile("(BENCH|OMP|GOMP|KMP|MKL)_")
"""Environment variables that workers get."""

_PLACES = ("BENCH_CACHE_ROOT", "BENCH_DATA_ROOT")
"""Those that name folders of this machine."""


class Ray:
    """Actors of a cluster.

    Args:
        config: How many, how large and where.
        plan: What they are for.
        note: Told what the user should know.

    Raises:
        BenchError: When the address has a wrong form, or Ray is not installed or in use already.
    """

    about = ""

    def __init__(self, config: RunConfig, plan: Plan, note: Callable[[str], None]) -> None:
        self._connection = cluster.Connection(config.address)
        self._config, self._plan, self._note = config, plan, note
        self._device = device_of(config)
        self._run = uuid.uuid4().hex
        self.workers: tuple[Actor, ...] = ()
        """As many as there is room for, once it is known."""
        self._stack = ExitStack()
        self._interrupts = FirstInterrupt()
        self._said: dict[str, Said] = {}
        self._asked: Any = None
        self._listened = self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Connect, and ask for the actors."""
        with ExitStack() as stack:
            self._interrupts.begin()
            stack.callback(self._interrupts.end)
            stack.callback(self._connection.close)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-code-"))
            modules = sorted(_modules(self._plan))
            copied = user_code.gather(modules, Path(folder))
            self.expected = user_code.expected(
                name for name in modules if name.partition(".")[0] not in copied
            )
            self._connection.open(Path(folder) if copied else None, self._environment())
            self.library = self._connection.library
            self.deaths = cluster.deaths(self.library)
            self.supply = Supply(self._plan.datasets, self.library.put)
            self._ear = self.library.remote(num_cpus=0)(remote.Ear).remote()
            self._performer = self.library.remote(
                num_cpus=self._config.cpus_per_worker, num_gpus=gpus_of(self._config)
            )(remote.Performer)
            self.workers = tuple(Actor(self, self._device) for _ in range(self._count()))
            for worker in self.workers:
                worker.start()
            self._stack = stack.pop_all()
        self._listened = self._began = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the actors, and the cluster if it was started for this run."""
        with self._stack:
            if error is None:
                self._clear()
            for worker in self.workers:
                worker.kill()

    def replace(self, place: int) -> None:
        """Ask for another actor; the old one may be alive where no word of it comes through."""
        self.workers[place].kill()
        self.workers[place].start()

    def actor(self) -> Any:
        """Ask for an actor."""
        return self._performer.remote(
            self._run, self._device, self._config.cpus_per_worker, self._ear
        )

    def listen(self) -> None:
        """Hear what actors say, and whether the cluster is still there.

        Raises:
            BenchError: When it is not.
        """
        now = time.monotonic()
        if now - self._listened < _LISTEN_S:
            return
        self._listened = now
        self._connection.check()
        waiting = sum(not worker.ready for worker in self.workers)
        if self._began and waiting and now - self._began > _PATIENCE_S:
            self._began = 0.0
            self._note(
                f"{waiting} of {len(self.workers)} workers wait for {self._size()} on a node"
            )
        with suppress(*self.deaths):  # Progress is not worth a run.
            if self._asked is None:
                self._asked = self._ear.take.remote()
            elif self.library.wait([self._asked], timeout=0)[0]:
                asked, self._asked = self._asked, None
                self._said |= self.library.get(asked)

    def said_of(self, task: str) -> Said | None:
        """The last word on a task, once."""
        return self._said.pop(task, None)

    def _count(self) -> int:
        """How many actors there shall be."""
        gpus = gpus_of(self._config)
        nodes = self._connection.rooms(self._config.cpus_per_worker, gpus)
        asked = self._config.workers
        count = asked if isinstance(asked, int) else min(sum(nodes), len(self._plan.cells))
        if count == 0:
            raise BenchError(
                f"no node of the Ray cluster has {self._size()} for a worker. Lower "
                "--cpus-per-worker or --gpus-per-worker, or name --workers N if nodes are to come."
            )
        on = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
        self._note(
            f"Ray at {self._connection.address or 'this machine'}: {count} "
            f"worker{'s' if count > 1 else ''} with {self._size()} each, {on}"
        )
        return count

    def _size(self) -> str:
        """What a worker takes, in words."""
        cpus, gpus = self._config.cpus_per_worker, gpus_of(self._config)
        words = f"{cpus} CPU{'s' if cpus > 1 else ''}"
        return f"{words} and {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else words

    def _environment(self) -> dict[str, str]:
        found = {
            name: value
            for name, value in os.environ.items()
            if _SENT.match(name) and name not in _PLACES
        }
        found |= machine.environment(found)
        return found | {"OMP_NUM_THREADS": str(self._config.cpus_per_worker)}

    def _clear(self) -> None:
        """Let one actor of each node remove what was sent there."""
        ready = {worker.node: worker for worker in self.workers if worker.node}
        with suppress(Exception):  # What stays is removed by a later run.
            asked = [worker.clear() for worker in ready.values()]
            if asked:
                self.library.wait(asked, num_returns=len(asked), timeout=_CLEAR_S)


class Actor:
    """A worker of the cluster, once it is started."""

    def __init__(self, engine: Ray, device: str) -> None:
        self.device = device
        self._engine = engine
        self._handle: Any = None
        self._task = ""
        self._hear: Hear = _ignored
        self._notes: list[str] = []

    def start(self) -> None:
        """Ask for an actor, without waiting for it."""
        self._handle = self._engine.actor()
        future = self._handle.start.remote(self._engine.expected).future()
        self.started = _settled(future, self._hello)

    @property
    def node(self) -> str:
        """Name of its node; empty while it has none."""
        done = self.started.done() and self.started.exception() is None
        return self.started.result().node if done else ""

    @property
    def ready(self) -> bool:
        """Whether it has a place on a node, or never gets one."""
        return self.started.done()

    def submit(self, task: Task, hear: Hear) -> Future[Result]:
        """Perform a task on its node.

        Raises:
            BenchError: When no worker can be started on that node.
        """
        never = self.started.exception()
        if isinstance(never, BenchError):
            raise never
        if never is not None:
            return failed(never)
        self._task, self._hear = uuid.uuid4().hex, hear
        try:
            packed = pickle.dumps(task)
            needs = self._engine.supply.needs(task)
        except BenchError as error:
            return failed(error)
        except Exception as error:  # a user's attack may hold anything
            return failed(CellError(f"it cannot be sent to a worker: {in_one_line(error)}"))
        folder = task.weights.path.parent
        future = self._handle.perform.remote(self._task, packed, needs).future()
        return _settled(future, lambda answer: self._result(answer, folder))

    def listen(self) -> None:
        """Pass on what came."""
        self._engine.listen()
        while self._notes:
            self._hear(Said(note=self._notes.pop(0)))
        if said := self._engine.said_of(self._task):
            self._hear(said)

    def kill(self) -> None:
        """End it, wherever it is."""
        if self._handle is not None:
            with suppress(Exception):
                self._engine.library.kill(self._handle)

    def clear(self) -> Any:
        """Let it remove what the run has put on its node."""
        return self._handle.clear.remote()

    def _hello(self, done: Future[Started | str]) -> Started:
        try:
            found = done.result()
        except self._engine.deaths as error:
            cause = cluster.cause(error)
            if "ImportError" in cause or "ModuleNotFoundError" in cause:
                raise BenchError(f"a node cannot import what a worker needs: {cause}.") from None
            raise WorkerDied(cause) from None
        except Exception as error:
            raise BenchError(
                f"a worker cannot be started on a node: {cluster.cause(error)}."
            ) from None
        if isinstance(found, str):
            raise BenchError(
                f"a node of the Ray cluster does not fit this machine: {found}. Install the same "
                "on every node."
            )
        return found

    def _result(self, done: Future[Answer], folder: Path) -> Result:
        """What an answer holds; a checkpoint is in its folder then."""
        try:
            answer = done.result()
        except self._engine.deaths as error:
            raise WorkerDied(cluster.cause(error)) from None
        except Exception as error:
            raise CellError(cluster.cause(error)) from None
        self._notes += answer.notes
        if answer.error is not None:
            raise answer.error
        if answer.checkpoint is not None:
            keep(*answer.checkpoint, folder)
        assert answer.result is not None
        return answer.result


def device_of(config: RunConfig) -> str:
    """Where every worker of a run on Ray runs its networks: the first GPU that it is given."""
    return "cuda:0" if gpus_of(config) else "cpu"


def gpus_of(config: RunConfig) -> float:
    """GPUs of each worker."""
    if config.gpus_per_worker is not None:
        return config.gpus_per_worker
    return 1.0 if config.device.startswith("cuda") else 0.0


def _ignored(said: Said) -> None:
    """Before its first task a worker says nothing."""


def _modules(plan: Plan) -> set[str]:
    """Modules of the networks, attacks and artefacts of a plan."""
    weights = [one for job in plan.jobs for one in (job.weights, job.source) if one is not None]
    factories = {one.model.factory.partition(":")[0] for one in weights}
    return factories | {type(one).__module__ for one in plan.perturbations.values()}


def _settled(future: Future[Any], convert: Callable[[Future[Any]], Value]) -> Future[Value]:
    """A future of what `convert` makes of another one that is done, or of what it raises."""
    made: Future[Value] = Future()

    def settle(done: Future[Any]) -> None:
        try:
            made.set_result(convert(done))
        except Exception as error:
            made.set_exception(error)

    future.add_done_callback(settle)
    return made
