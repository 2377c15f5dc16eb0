"""Several processes of this machine, each with its share of threads or its own device.

Each worker is a pool of one process, so that a death concerns one worker only. Processes are
spawned anew: a forked copy of torch's threads or of a CUDA context does not work.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import connection
from types import ModuleType
from typing import TYPE_CHECKING, Self

import torch

from benchharness.errors import CellError
from benchharness.machine import THREADS, bounded_children
from benchharness.networks import devices
from benchharness.outside.containment import in_one_line
from benchharness.run.engines import worker
from benchharness.run.engines.engine import WorkerDied, failed, translated
from benchharness.run.engines.interrupts import FirstInterrupt
from benchharness.run.engines.serial import started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import TracebackType

    from benchharness.run.engines.engine import Hear, Started
    from benchharness.run.engines.tasks import Result, Said, Task

_QUIET_S = 0.1
"""Seconds between two messages about progress."""

_PATIENCE_S = 5.0
"""How long an idle worker may take to leave."""


class Local:
    """Processes of this machine.

    Args:
        devices: Of each worker.
        threads: Of each worker on a CPU.
        about: In one line, how it works.
    """

    def __init__(self, devices: Sequence[str], *, threads: int, about: str) -> None:
        self.about = about
        self.workers = tuple(Process(device, threads) for device in devices)
        self._interrupts = FirstInterrupt()

    def __enter__(self) -> Self:
        self._interrupts.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self.workers:
            one.leave(now=error is not None)
        for one in self.workers:
            one.close()
        self._interrupts.end()

    def replace(self, place: int) -> None:
        """Start a process anew."""
        self.workers[place].leave(now=True)
        self.workers[place].close()


class Process:
    """A worker in a process of its own, which starts with its first task."""

    ready = True

    def __init__(self, device: str, threads: int) -> None:
        self.device = device
        self.threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self.started: Future[Started] = Future()

    def _start(self) -> ProcessPoolExecutor:
        """Start the process, without waiting for it."""
        context = multiprocessing.get_context("spawn")
        self._heard, sender = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=_begin,
            initargs=(self.device, sender),
        )
        before = set(multiprocessing.active_children())
        with spawning(self.threads):
            future = pool.submit(_hello)
        (self._process,) = set(multiprocessing.active_children()) - before
        sender.close()  # The process has its own; it alone may hold the pipe open.
        self._pool = pool
        self.started = translated(future, (BrokenExecutor,), self._cause)
        return pool

    def submit(self, task: Task, hear: Hear) -> Future[Result]:
        """Perform a task in the process."""
        pool = self._pool or self._start()
        self._hear = hear
        try:
            packed = pickle.dumps(task)
        except Exception as error:  # a user's attack may hold anything
            return failed(CellError(f"it cannot be sent to a worker: {in_one_line(error)}"))
        try:
            future = pool.submit(_perform, packed)
        except BrokenExecutor:
            return failed(WorkerDied(self._cause()))
        return translated(future, (BrokenExecutor,), self._cause)

    def listen(self) -> None:
        """Pass on what came through the pipe."""
        with suppress(EOFError, OSError):  # the process is gone
            while self._heard.poll():
                self._hear(self._heard.recv())

    def leave(self, *, now: bool) -> None:
        """Tell the process to go: at once, or when it has nothing to do."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        if now:
            self._process.kill()

    def close(self) -> None:
        """Wait until the process is gone; the next task starts another."""
        if self._pool is None:
            return
        if not connection.wait([self._process.sentinel], _PATIENCE_S):
            self._process.kill()
        self._pool.shutdown(wait=True)
        self._heard.close()
        self._pool, self.started = None, Future()

    def _cause(self) -> str:
        """How the process ended."""
        connection.wait([self._process.sentinel], _PATIENCE_S)
        until = time.monotonic() + 1.0
        # The pool's own thread may just be asking: only one of two is told.
        while (code := self._process.exitcode) is None and time.monotonic() < until:
            time.sleep(0.01)
        if code is None or code >= 0:
            return "" if code is None else f"exit code {code}"
        name = signal.Signals(-code).name
        hint = ", as where memory runs out" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"


@contextmanager
def spawning(threads: int) -> Iterator[None]:
    """What a new process inherits: its threads and how they wait, no main module, no Ctrl-C."""
    main, given = sys.modules["__main__"], os.environ.get(THREADS)
    # Otherwise it would run a script that has no `if __name__ == "__main__"` once more.
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.setdefault(THREADS, str(threads))
    # Until the process ignores it, a Ctrl-C would end it with a traceback.
    before = _block_interrupts()
    try:
        with bounded_children():
            yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if given is None:
            del os.environ[THREADS]
        sys.modules["__main__"] = main


def _block_interrupts() -> set[int] | None:
    """Keep Ctrl-C waiting; None where the system cannot."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))


# In the process itself.


class _Self:
    """This process as a worker."""

    def __init__(self, device: str, sender: Connection) -> None:
        self.worker = worker.Worker(device)
        self._sender = sender
        self._spoke = 0.0

    def say(self, said: Said) -> None:
        """Send notes, and progress now and then."""
        if not said.note:
            now = time.monotonic()
            if now - self._spoke < _QUIET_S:
                return
            self._spoke = now
        with suppress(OSError):  # the driver is gone, and this process is about to be
            self._sender.send(said)


_SELF: list[_Self] = []


def _begin(device: str, sender: Connection) -> None:
    """Make this process a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    devices.keep_memory()
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    _SELF.append(_Self(device, sender))


def _leave_with(parent: BaseProcess) -> None:
    """End this process when the driver has ended, however it did."""
    connection.wait([parent.sentinel])
    os._exit(1)


def _hello() -> Started:
    return started(_SELF[0].worker.device)


def _perform(packed: bytes) -> Result:
    return _SELF[0].worker.answer(packed, _SELF[0].say)
