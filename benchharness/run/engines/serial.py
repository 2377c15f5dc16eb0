"""One worker in this process: what `bench run` does unless told otherwise."""

from __future__ import annotations

import os
import platform
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

import torch

from benchharness.run.engines import worker
from benchharness.run.engines.engine import Started, failed

if TYPE_CHECKING:
    from types import TracebackType

    from benchharness.run.engines.engine import Hear
    from benchharness.run.engines.tasks import Result, Task
    from benchharness.run.planning import Plan


class Inside:
    """A worker that performs a task while it is submitted."""

    ready = True

    def __init__(self, performer: worker.Worker) -> None:
        self._performer = performer
        self.device = performer.device
        self.started: Future[Started] = Future()
        self.started.set_result(started(self.device))

    def submit(self, task: Task, hear: Hear) -> Future[Result]:
        """Perform a task; the future is done. A Ctrl-C leaves as it is."""
        try:
            result = self._performer.perform(task, hear)
        except Exception as error:
            return failed(error)
        future: Future[Result] = Future()
        future.set_result(result)
        return future

    def listen(self) -> None:
        """Nothing is left to be passed on."""


class Serial:
    """One worker in this process, on the data that the plan has loaded."""

    about = ""

    def __init__(self, device: str, plan: Plan) -> None:
        datasets = plan.datasets
        splits = {(job.data, job.limits): job.split for job in plan.jobs}
        self.workers = (Inside(worker.Worker(device, datasets.__getitem__, splits)),)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def replace(self, place: int) -> None:
        """A worker in this process dies with it."""
        raise AssertionError(place)


def started(device: str) -> Started:
    """What this process is as a worker."""
    return Started(
        process=os.getpid(), node=platform.node(), device=device, threads=torch.get_num_threads()
    )
