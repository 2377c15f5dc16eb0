"""What this machine has: cores and memory, as far as this process may use them."""

from __future__ import annotations

import os
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
"""What torch reads when it is loaded; a user's own value wins."""
_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


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


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
