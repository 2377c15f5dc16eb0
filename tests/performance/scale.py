"""100,000 cells: how long plan, resume and overview take, and the memory; a run of 1,000 cells.

Each measurement is a process of its own, whose peak memory the system tells.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.performance import store_speed

if TYPE_CHECKING:
    from collections.abc import Callable

CELLS = 100_000
GOALS = {"plan": "5 s", "resume": "1 s", "overview": "10 s, 500 MB"}
MODELS = ("resnet3d_18", "medvit3d_t", "medvit3d_n", "densenet3d_121")
ATTACKS = ("fgsm", "pgd", "apgd_ce", "mifgsm", "fab")
SEEDS = 50
RUN_CELLS = 1000


def main(arguments: list[str] | None = None) -> None:
    """Print seconds and peak memory of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.scale")
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--only", choices=[*STEPS], help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.only is not None:
        return _measured(STEPS[given.only], given.store, given.cells)
    print(f"{given.cells} cells: seconds, peak memory of the process")
    with tempfile.TemporaryDirectory() as folder:
        store_speed.write(Path(folder), given.cells)
        _child("resume", folder, given.cells, quiet=True)  # hashes every file, writes the index
        for name in STEPS:
            _child(name, folder, given.cells)
    return None


def _child(name: str, folder: str, cells: int, *, quiet: bool = False) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.performance.scale"]
    command += ["--only", name, "--store", folder, "--cells", str(cells)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    if not quiet:
        goal = f"  (goal: {GOALS[name]})" if name in GOALS else ""
        print(f"{name:<10}{done.stdout.splitlines()[-1]}{goal}", flush=True)


def _measured(step: Callable[[Path, int], str], store: Path, cells: int) -> None:
    if step in (plan, run):
        from baselines import resnet  # noqa: F401  # loading torch and MONAI is not timed
        from benchharness.run import runner  # noqa: F401
    began = time.perf_counter()
    said = step(store, cells)
    seconds = time.perf_counter() - began
    print(f"{seconds:>8.2f} s{_peak():>8.0f} MB  {said}", flush=True)


def _peak() -> float:
    """The most memory that this process held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def plan(store: Path, cells: int) -> str:
    """A plan with the identity of every cell, loading the dataset included."""
    from benchharness.run import planning
    from benchharness.run.config import RunConfig

    # Each network has its clean cell, a step of unlimited size, and at every ε a probe.
    budgets = (cells // (len(MODELS) * SEEDS) - 2) // (len(ATTACKS) + 1)
    found = planning.plan(
        RunConfig(
            models=MODELS,
            attacks=ATTACKS,
            eps=tuple((1 + number) / 25500 for number in range(budgets)),
            seeds=tuple(range(SEEDS)),
            out=store / "none",
        )
    )
    return f"{len({cell.identity for cell in found.cells})} cells, controls included"


def resume(store: Path, cells: int) -> str:
    """What is recorded, every file of predictions looked at."""
    from benchharness.store.folder import Store

    return f"{len(Store(store).recorded().sound)} of {cells} recorded"


def overview(store: Path, cells: int) -> str:
    """`bench report --quick`, printed into nothing."""
    import io

    from rich.console import Console

    from benchharness.report import quick

    Console(file=io.StringIO(), width=200).print(quick.overview(store))
    return f"bench report --quick of {cells} records"


def run(_: Path, __: int) -> str:
    """A run of a thousand small cells: memory after a hundred and at the end."""
    import io

    from rich.console import Console

    from benchharness.run import runner
    from benchharness.run.config import RunConfig
    from benchharness.run.progress import Display

    memory: list[float] = []

    def watch() -> bool:
        memory.append(_resident())
        return False

    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            models=("tests.samples:tiny",),
            attacks=("noise_sign", "fgsm"),
            eps=tuple((1 + number) / 25500 for number in range(RUN_CELLS // 3)),
            limit=8,
            out=Path(folder),
        )
        done = runner.run(config, Display(Console(file=io.StringIO())), stop=watch)
    first, last = memory[len(memory) // 10], memory[-1]
    return f"{done.evaluated} cells run: {first:.0f} MB after a tenth, {last:.0f} MB at the end"


def _resident() -> float:
    """Memory that this process holds now, in MB; only Linux tells."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


STEPS = {"plan": plan, "resume": resume, "overview": overview, "run": run}


if __name__ == "__main__":
    main()
