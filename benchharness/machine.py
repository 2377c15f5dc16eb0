"""What this machine has for a process, and how the process's threads wait for each other.

Cores and memory are those that it may use: a container or a scheduler may give it fewer.

At the end of every parallel operation threads wait for the slowest. By default they spin, for
milliseconds: where another process has taken the core of one of them, the others burn theirs and
keep it from coming back, at every small operation. With a bound of about the cost of a system call
they wait nearly as fast and give the core away soon. On a machine of their own this costs little;
beside other processes a training step becomes several times faster (`docs/performance.md`).

OpenMP reads its environment once, when it is loaded, so the variables must be set before torch is
imported: at the start of `bench`, and in the environment in which a worker process starts. A
Python process that imports the harness keeps its own.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

THREADS = "OMP_NUM_THREADS"
"""What torch reads when it is loaded; a user's own value wins."""
_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""
BOUNDED = {"GOMP_SPINCOUNT": "1500"}
"""Turns of a waiting thread of GNU's OpenMP, which torch brings on Linux.

LLVM's and Intel's, elsewhere, count in milliseconds (KMP_BLOCKTIME): one is too long to help beside
a busy process, and none at all makes a step alone a quarter slower. They stay as they are."""
OWN = ("OMP_WAIT_POLICY", *BOUNDED)
"""Variables by which people decide this themselves."""


def cores() -> int:
    """Cores that this process may run on; at least 1."""
    allowed = getattr(os, "sched_getaffinity", None)
    count = (os.cpu_count() or 1) if allowed is None else len(allowed(0))
    quota, _, period = _read(_GROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        count = min(count, int(quota) // int(period))
    return max(1, count)


def own_threads() -> int | None:
    """What a user's own setting gives every process; None without one that can be read."""
    first = os.environ.get(THREADS, "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None


def free_memory() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    found = []
    for line in _read(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            found.append(1024 * int(value.split()[0]))
    limit, used = _read(_GROUP / "memory.max"), _read(_GROUP / "memory.current")
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used)))
    return min(found, default=None)


def peak_memory() -> int | None:
    """The most bytes that this process has held at once; None where the system does not say."""
    for line in _read(Path("/proc/self/status")).splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return 1024 * int(value.split()[0])
    return None


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that bound the spinning, to be added to an environment.

    Args:
        given: The environment; by default that of this process.

    Returns:
        Nothing where the person has decided otherwise. The number of threads stays as it is.
    """
    given = os.environ if given is None else given
    return {} if any(name in given for name in OWN) else dict(BOUNDED)


def bound() -> None:
    """Bound the spinning of this process and of its children, if torch is not loaded yet."""
    os.environ.update(environment())


@contextmanager
def bounded_children() -> Iterator[None]:
    """Processes that start within bound their spinning; this one's environment stays as it was."""
    added = environment()
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
