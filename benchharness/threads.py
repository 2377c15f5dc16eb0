"""How OpenMP's threads wait for each other, decided before torch loads OpenMP.

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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOUNDED = {"GOMP_SPINCOUNT": "1500"}
"""Turns of a waiting thread of GNU's OpenMP, which torch brings on Linux.

LLVM's and Intel's, elsewhere, count in milliseconds (KMP_BLOCKTIME): one is too long to help beside
a busy process, and none at all makes a step alone a quarter slower. They stay as they are."""
OWN = ("OMP_WAIT_POLICY", *BOUNDED)
"""Variables by which people decide this themselves."""


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
