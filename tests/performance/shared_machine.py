"""A training step of `medvit3d_t` on a machine that others use, with bounded spinning and without.

Every process is started here: two that train, one with OpenMP as it comes and one as `bench` sets
it, which take a step in turn; and the competitors beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from benchharness import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH, THREADS = 16, 2
"""Volumes of a step, as the recipe `quick` takes; threads of a training process."""
BUSY = "while True: pass"
SITUATIONS = {
    "alone": (0, 0, 0),
    "one busy process": (1, 0, 0),
    "a job of two threads, one busy process": (1, 1, 0),
    "another training of `bench`": (0, 0, 1),
}
"""Busy processes; trainings with OpenMP as it comes; trainings as `bench` runs them."""
GOALS = {"alone": 1.1, "one busy process": 2.5, "a job of two threads, one busy process": 6.0}
"""The most that a step may take, in those of OpenMP as it comes, alone."""
PATIENCE = 20.0
"""Seconds after which no more steps are asked for; in a crowd, one may take a minute."""


def main(arguments: list[str] | None = None) -> None:
    """Print, for each situation, what a step takes both ways, in ms a volume."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.shared_machine")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each process, in turn")
    parser.add_argument("--alone", action="store_true", help="measure nothing beside others")
    parser.add_argument("--steps-on-demand", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.steps_on_demand:
        return _train()
    print(f"a training step of medvit3d_t, batch {BATCH}, {THREADS} threads, ms a volume")
    print(f"{'beside':<40}{'as it comes':>12}{'bounded':>9}{'of alone':>9}  goal")
    alone = None
    for name, others in SITUATIONS.items():
        if given.alone and name != "alone":
            break
        default, ours = _measure(*others, rounds=given.rounds)
        alone = alone or default
        goal = f"{GOALS[name]:.1f}" if name in GOALS else ""
        print(f"{name:<40}{default:>12.1f}{ours:>9.1f}{ours / alone:>9.2f}  {goal}", flush=True)
    return None


def _measure(busy: int, default: int, bounded: int, *, rounds: int) -> tuple[float, float]:
    """Median step of a process as it comes and of a bounded one, beside others."""
    with ExitStack() as stack:
        measured = [stack.enter_context(Training.started(bounded=which)) for which in (False, True)]
        for which, count in ((False, default), (True, bounded)):
            for _ in range(count):
                stack.enter_context(Training.started(bounded=which)).work()
        for _ in range(busy):
            stack.enter_context(_process([sys.executable, "-c", BUSY], os.environ))
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for training, found in zip(measured, seconds, strict=True):
                if sum(found) < PATIENCE:
                    time.sleep(0.05)  # the threads of the other one sleep by then
                    found.append(training.step())
    first, second = (statistics.median(found) * 1000 / BATCH for found in seconds)
    return first, second


class Training:
    """A process that trains, a step at a time, on demand.

    Args:
        process: With a line for every step on its standard output.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers = process.stdin, process.stdout
        self.step()  # warm

    @classmethod
    @contextmanager
    def started(cls, *, bounded: bool) -> Iterator[Self]:
        """One that is warm, with OpenMP as it comes or as `bench` sets it."""
        given = {name: text for name, text in os.environ.items() if name not in machine.OWN}
        given |= {"OMP_NUM_THREADS": str(THREADS)}
        given |= machine.environment(given) if bounded else {}
        command = [sys.executable, "-m", __spec__.name, "--steps-on-demand"]
        with _process(command, given) as process:
            yield cls(process)

    def step(self) -> float:
        """Seconds of one step."""
        self._ask("step")
        return float(self._answers.readline())

    def work(self) -> None:
        """Train on, without an answer."""
        self._ask("work")

    def _ask(self, word: str) -> None:
        self._asked.write(f"{word}\n")
        self._asked.flush()


@contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _train() -> None:
    """Take a step for every line on standard input and print its seconds."""
    import torch
    from torch.nn import functional as F

    from benchharness import registry
    from benchharness.networks import devices

    devices.keep_memory()
    torch.manual_seed(0)
    network = registry.load("models", "medvit3d_t")(4).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    volumes, labels = torch.rand(BATCH, 1, 28, 28, 28), torch.randint(0, 4, (BATCH,))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(volumes), labels).backward()
        optimiser.step()

    for _ in range(2):
        step()
    for word in sys.stdin:
        while word.startswith("work"):
            step()
        began = time.perf_counter()
        step()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
