"""`bench report` on stores of 600 and of 10,000 cells: seconds, memory, and the page's size.

The stores are made up, of 200 volumes a cell. Each report is a process of its own, whose peak
memory the system tells. Where a Chromium is found, a page of 1,000 cells is opened in it, and the
time of its first paint is printed, the median of five.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.factories import store_of, whole_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

DATASETS = ("adrenalmnist3d", "vesselmnist3d", "nodulemnist3d", "hippocampus3d", "phantom3d")
SIZES = {600: (10, 1, 3), 1_000: (10, 1, 5), 10_000: (20, 5, 5)}
"""Networks, training seeds and datasets by the number of cells; each has 20 conditions."""
GOALS = {600: "20 s", 10_000: "120 s, 1 GB"}
VOLUMES = 200
OPENED = 5


def main(arguments: list[str] | None = None) -> None:
    """Print what each size takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.report_speed")
    parser.add_argument("--cells", type=int, choices=SIZES, action="append", help="of one size")
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.store is not None:
        return _measured(given.store)
    for cells in given.cells or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            store = made(Path(folder) / "store", cells)
            goal = f"  (goal: {GOALS[cells]})" if cells in GOALS else ""
            print(f"{cells:>6} cells: {_child(store)}{goal}", flush=True)
            if cells == 1_000:
                _print_paint(store / "report" / "report.html")
    return None


def made(directory: Path, cells: int) -> Path:
    """A store of so many cells."""
    networks, seeds, datasets = SIZES[cells]
    names: Sequence[str] = [f"network_{number:02}" for number in range(networks)]
    whole = whole_matrix(names, DATASETS[:datasets], range(seeds), VOLUMES)
    assert len(whole) == cells
    return store_of(directory, whole).directory


def _child(store: Path) -> str:
    command = [sys.executable, "-m", "tests.performance.report_speed", "--store", str(store)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _measured(store: Path) -> None:
    command = [sys.executable, "-m", "benchharness", "report", str(store), "--volumes", "0"]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6
    size = (store / "report" / "report.html").stat().st_size / 1e6
    print(f"{seconds:.1f} s, {memory:.0f} MB, page of {size:.1f} MB")


def _print_paint(page: Path) -> None:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        print("        first paint: playwright is not installed")
        return
    try:
        with sync_playwright() as running:
            browser = running.chromium.launch(
                executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
                args=["--no-sandbox", "--disable-gpu"],
            )
            found = []
            for _ in range(OPENED):
                tab = browser.new_page()
                tab.goto(page.resolve().as_uri())
                found.append(
                    tab.evaluate(
                        "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                    )
                )
                tab.close()
            browser.close()
    except Error as error:
        print(f"        first paint: no browser ({str(error).splitlines()[0]})")
        return
    print(f"        first paint after {statistics.median(found) / 1000:.2f} s  (goal: 1 s)")


if __name__ == "__main__":
    main()
