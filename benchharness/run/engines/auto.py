"""How many workers `--workers auto` takes: what one batch took here, cores and memory decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchharness import machine
from benchharness.run.forecast import Pace, pace

if TYPE_CHECKING:
    from benchharness.run.measuring import Setting
    from benchharness.run.planning import Job, Plan

_SHARE = 0.8
"""Of the free memory, what workers may take."""

_REPEATS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured on this machine."""

    cores: int
    own_threads: int | None
    """A user's own setting; None leaves them to us."""
    one_thread: float | None
    """Seconds of a volume, forward and backward, on one thread; None where it cannot be timed."""
    all_threads: float | None
    """The same on all cores."""
    worker_bytes: int | None
    """What one worker takes."""
    free_bytes: int | None
    tasks: int
    """Trainings and cells to be done: more workers would have nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Workers, and why."""

    workers: int
    reason: str


def decide(found: Found) -> Choice:
    """As many workers as there are cores, if memory allows it and threads would not do as well."""
    threads = found.own_threads or 1
    count, reason = max(1, found.cores // threads), f"{found.cores} cores"
    if found.own_threads:
        reason += f", {threads} threads each as OMP_NUM_THREADS says"
    if found.tasks < count:
        count, reason = max(1, found.tasks), f"no more than {found.tasks} can run at once"
    if found.worker_bytes and found.free_bytes is not None:
        room = max(1, int(_SHARE * found.free_bytes / found.worker_bytes))
        if room < count:
            count = room
            reason = (
                f"one takes {found.worker_bytes / 1e9:.1f} GB and {found.free_bytes / 1e9:.1f} GB "
                "are free"
            )
    if count > 1 and found.one_thread and found.all_threads:
        threads = max(1, found.cores // count)
        gain = count * found.all_threads / _seconds_on(threads, found)
        if gain <= 1:
            return Choice(
                workers=1,
                reason=f"{found.cores} threads do a batch {1 / gain:.2f} times as fast as {count} "
                f"workers of {threads} would",
            )
        reason += f", {gain:.2f} times the throughput of one worker on all threads"
    return Choice(workers=count, reason=reason)


def _seconds_on(threads: int, found: Found) -> float:
    """Seconds of a volume on some threads, by Amdahl's law through the two that were measured."""
    assert found.one_thread is not None
    assert found.all_threads is not None
    parallel = (found.one_thread - found.all_threads) / (1 - 1 / found.cores)
    return found.one_thread - parallel * (1 - 1 / threads)


def measure(plan: Plan, setting: Setting) -> Found:
    """Time a batch of the plan's first network on one thread and on all, in turn."""
    cores, own = machine.cores(), machine.own_threads()
    one = every = None
    job = next(iter(plan.jobs), None)
    if job is not None and cores > 1 and own is None:
        before = torch.get_num_threads()
        try:
            timed = [
                (_seconds(job, setting, 1), _seconds(job, setting, cores)) for _ in range(_REPEATS)
            ]
        finally:
            torch.set_num_threads(before)
        singles = [single for single, _ in timed if single is not None]
        wholes = [whole for _, whole in timed if whole is not None]
        one, every = min(singles, default=None), min(wholes, default=None)
    trainings = {job.weights.path for job in plan.jobs if job.weights.to_train}
    return Found(
        cores=cores,
        own_threads=own,
        one_thread=one,
        all_threads=every,
        # This process has torch, the data and a batch in memory, as a worker will.
        worker_bytes=machine.peak_memory(),
        free_bytes=machine.free_memory(),
        tasks=len(plan.cells) + len(trainings),
    )


def _seconds(job: Job, setting: Setting, threads: int) -> float | None:
    """Seconds of a volume through the network and back; None where it cannot be timed."""
    torch.set_num_threads(threads)
    found = pace(job.weights, job, setting)
    return found.forward + found.backward if isinstance(found, Pace) else None
