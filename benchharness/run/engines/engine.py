"""What an engine is: workers that perform tasks, wherever they are.

The driver (`run.runner`) hands every worker one task at a time, waits for the first future, writes
to the store, and asks the schedule for more. It is the only caller, from one thread.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self, TypeVar

    from benchharness.run.engines.tasks import Result, Said, Task

    Value = TypeVar("Value")

    Hear = Callable[[Said], None]
    """What a worker says of its task arrives here, in the driver's thread."""


class WorkerDied(Exception):  # noqa: N818 - it is what happened, and the text says how
    """A worker is gone, with the task that it had; the text says what is known of the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a worker says of itself once it can work."""

    process: int
    """Its process id, on its node."""
    node: str
    device: str
    threads: int
    """Of torch."""


class Worker(Protocol):
    """One process that performs one task at a time."""

    device: str
    """`cpu` or `cuda[:i]`, as it is called on its node."""

    @property
    def started(self) -> Future[Started]:
        """Done once it can work; `WorkerDied` where it never could."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it may be given a task.

        Where a task starts its worker, it always is. On a cluster a worker waits for room, and a
        task is not to wait with it.
        """
        ...

    def submit(self, task: Task, hear: Hear) -> Future[Result]:
        """Perform a task, after `started` if need be.

        The future raises `WorkerDied` when the worker is gone, and otherwise what
        `engines.worker.Worker.perform` raised. A task that cannot be sent fails its future, too.
        """
        ...

    def listen(self) -> None:
        """Pass on what was said since the last call; all of it once the future is done."""
        ...


class Engine(Protocol):
    """Some workers, alike but for their devices."""

    @property
    def workers(self) -> Sequence[Worker]:
        """At least one; the number never changes."""
        ...

    @property
    def about(self) -> str:
        """How it works, in one line for the user; empty where nothing need be said."""
        ...

    def __enter__(self) -> Self:
        """Get ready; workers may start now or with their first task, and nobody waits for them.

        Raises:
            BenchError: When they cannot be started at all.
        """
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the workers, at once where an exception leaves; no process survives."""
        ...

    def replace(self, place: int) -> None:
        """Put a new worker in the place of one that died."""
        ...


def failed(error: BaseException) -> Future[Value]:
    """A future that has failed."""
    future: Future[Value] = Future()
    future.set_exception(error)
    return future


def translated(
    future: Future[Value],
    deaths: tuple[type[BaseException], ...],
    cause: Callable[[], str] = lambda: "",
) -> Future[Value]:
    """The same future, in which an engine's own errors of a lost worker are `WorkerDied`.

    Args:
        future: Of the engine's library.
        deaths: What that library raises when a worker is gone.
        cause: Called then, for the text.
    """
    made: Future[Value] = Future()

    def passed_on(done: Future[Value]) -> None:
        if done.cancelled():
            made.set_exception(WorkerDied("it was stopped"))
            return
        error = done.exception()
        if error is None:
            made.set_result(done.result())
        elif isinstance(error, deaths):
            made.set_exception(WorkerDied(cause()))
        else:
            made.set_exception(error)

    future.add_done_callback(passed_on)
    return made
