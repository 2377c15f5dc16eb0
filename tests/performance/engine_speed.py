"""What several workers gain, and what handing out the work costs.

Three measurements, each as ratios within one process:

* the quickstart's matrix with two workers of one thread, against one worker of one thread and one
  of two threads,
* what scheduling, sending and storing take of a run of many cells,
* the efficiency of 1, 2, 4 and 8 workers on cells that sleep, so that the engine itself is measured
  and not the cores.

Workers have started before a clock runs.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import torch
from rich.console import Console
from safetensors.torch import save_file

from benchharness import datasets, registry
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.machine import THREADS
from benchharness.run import config, engines, runner
from benchharness.run.driver import Driver
from benchharness.run.engines.local import Local
from benchharness.run.progress import Display
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Engine

WORKERS = (1, 2, 4, 8)
CELLS, SLEEP_S = 500, 0.5
PARTS = ("sleep", "cost", "quickstart")
QUICKSTART = {
    "models": "medvit3d_t,resnet3d_18",
    "attacks": "pgd",
    "artefacts": "motion,bias_field,ghosting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeps(Attack):
    """Does nothing for a while."""

    name: ClassVar[str] = "sleeps"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "tests"
    summary: ClassVar[str] = "Sleeps."
    access: ClassVar = "none"
    iterative: ClassVar[bool] = False
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False
    seconds: float = SLEEP_S

    def cost(self, num_classes: int) -> Cost:
        """None."""
        return Cost(forward=0, backward=0)

    def perturb(self, batch: Batch) -> Tensor:
        """Sleep."""
        time.sleep(self.seconds)
        return batch.volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """A run, timed without its plan."""

    wall: float
    """Seconds from the first task to the last record."""
    busy: float
    """Seconds that workers spent inside cells, all together."""
    cells: int


@contextmanager
def local(workers: int, threads: int = 1) -> Iterator[Engine]:
    """Processes of this machine, started."""
    with mock.patch.dict(os.environ):
        os.environ.pop(THREADS, None)
        engine = Local(["cpu"] * workers, threads=threads, about="")
        for one in engine.workers:
            one._start()
        for one in engine.workers:
            one.started.result()
        yield engine


def drive(asked: RunConfig, engine: Engine) -> Driven:
    """Run a config on an engine that has started; the run ends it."""
    with mock.patch.object(engines, "choose", return_value=engine):
        return timed_run(asked)


def timed_run(asked: RunConfig) -> Driven:
    """Run a config on the engine that it names, and time the driver's loop."""
    display, whole, walls = Display(Console(file=io.StringIO())), Driver.drive, []

    def timed(self: Driver) -> None:
        began = time.perf_counter()
        whole(self)
        walls.append(time.perf_counter() - began)

    with mock.patch.object(Driver, "drive", timed):
        summary = runner.run(asked, display)
    assert not summary.failures, summary.failures[0]
    return Driven(wall=sum(walls), busy=summary.seconds, cells=summary.evaluated)


def sleeping(folder: Path, cells: int, seconds: float) -> RunConfig:
    """A config of cells that sleep, and a clean one."""
    folder.mkdir(parents=True)
    torch.save(samples.tiny(2).state_dict(), folder / "tiny.pth")
    asked = config.load(
        None,
        {
            "models": "tests.samples:tiny",
            "checkpoint": [f"tiny={folder / 'tiny.pth'}"],
            "datasets": str(samples.write_archive(folder / "data.npz")),
            "attacks": f"{__spec__.name if __spec__ else __name__}:Sleeps",
            "eps": [(step + 1) / cells for step in range(cells)],
            "limit": 2,
            "device": "cpu",
            "out": folder / "out",
        },
    )
    name = asked.attacks[0]
    return replace(asked, attack_parameters=((name, (("seconds", seconds),)),))


def efficiency(
    engine: Callable[[int], Any], workers: tuple[int, ...] = WORKERS, *, cells: int = 16
) -> dict[int, float]:
    """How much of the workers' time was spent inside cells, by their number.

    Args:
        engine: From a number of workers to a context manager that gives an engine, started.
        workers: The numbers.
        cells: For each worker.
    """
    found = {}
    for count in workers:
        with tempfile.TemporaryDirectory() as folder, engine(count) as made:
            done = drive(sleeping(Path(folder) / "run", cells * count, SLEEP_S), made)
        found[count] = done.busy / (count * done.wall)
    return found


def overhead(engine: Callable[[int], Any], cells: int = CELLS) -> float:
    """Seconds that one worker loses between two cells: scheduling, sending, storing."""
    with tempfile.TemporaryDirectory() as folder, engine(1) as made:
        done = drive(sleeping(Path(folder) / "run", cells, 0.0), made)
    return (done.wall - done.busy) / done.cells


def throughput(limit: int, rounds: int) -> dict[str, list[Driven]]:
    """The quickstart's cells by each kind of engine, in turn; corrupted sets are in the cache."""
    kinds: dict[str, tuple[int, int]] = {
        "one worker, one thread": (1, 1),
        "one worker, two threads": (1, 2),
        "two workers, one thread each": (2, 1),
    }
    found: dict[str, list[Driven]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        own = list(_fresh_weights(Path(folder)))
        asked = config.load(
            None, QUICKSTART | {"checkpoint": own, "limit": limit, "device": "cpu", "out": folder}
        )
        with local(1) as engine:
            drive(replace(asked, out=Path(folder) / "warm", attacks=()), engine)
        for number in range(rounds):
            for name, (workers, threads) in kinds.items():
                with local(workers, threads) as engine:
                    out = Path(folder) / f"{number} {name}"
                    found[name].append(drive(replace(asked, out=out), engine))
    return found


def _fresh_weights(folder: Path) -> Iterator[str]:
    """Weights as they are drawn: training changes no time but that of attacks which stop early."""
    data = datasets.load("phantom3d")
    for name in QUICKSTART["models"].split(","):
        torch.manual_seed(0)
        network = registry.load("models", name)(data.num_classes, data.in_channels)
        state = {key: value.clone() for key, value in network.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
        yield f"{name}={folder / name}.safetensors"


def main(arguments: list[str] | None = None) -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.engine_speed")
    parser.add_argument("--limit", type=int, default=16, help="volumes of the quickstart")
    parser.add_argument("--rounds", type=int, default=3, help="of the quickstart")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    asked = parser.parse_args(arguments)
    parts = asked.only or PARTS
    if "sleep" in parts:
        for count, share in efficiency(local).items():
            print(f"{count} workers, cells of {SLEEP_S} s that sleep: efficiency {share:.3f}")
    lost = overhead(local) if "cost" in parts else None
    if lost is not None:
        print(f"scheduling, sending and storing: {1000 * lost:.1f} ms a cell, over {CELLS} cells")
    if "quickstart" in parts:
        _print_quickstart(throughput(asked.limit, asked.rounds), lost)


def _print_quickstart(found: dict[str, list[Driven]], lost: float | None) -> None:
    rates = {
        name: statistics.median(one.cells / one.wall for one in several)
        for name, several in found.items()
    }
    for name, rate in rates.items():
        print(f"quickstart, {name}: {rate:.2f} cells/s")
    one, two, workers = rates.values()
    print(f"two workers: {workers / one:.2f}× one thread, {workers / two:.2f}× two threads")
    (first, *_) = found.values()
    mean = statistics.median(done.busy / done.cells for done in first)
    if lost is not None:
        print(f"which is {100 * lost / mean:.2f} % of a quickstart's cell of {mean:.2f} s")


if __name__ == "__main__":
    main()
