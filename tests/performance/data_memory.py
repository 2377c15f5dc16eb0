"""Memory of a set of own volumes that is larger than what may stay in memory."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

VOLUMES, SIDE = 3000, 64

_PREPARE, _EVALUATE = "prepared from files", "from the cache: a pass of a network over all"


def main(arguments: list[str] | None = None) -> None:
    """Print the most memory of a process that prepares a set, and of one that evaluates it."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.data_memory")
    parser.add_argument("--volumes", type=int, default=VOLUMES)
    parser.add_argument("--side", type=int, default=SIDE, help="voxels")
    parser.add_argument("--folder", type=Path, help="where about 4 GB fit; kept")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        _work(given.work, given.folder, given.side)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        _write(folder, given.volumes, given.side)
        gib = given.volumes * given.side**3 * 2 / 2**30
        print(f"{given.volumes} volumes of {given.side}³, 16 bits: {gib:.2f} GiB")
        print("GiB above the program   its own   with pages of files")
        for what in (_PREPARE, _EVALUATE):
            command = [sys.executable, "-W", "ignore", "-m", "tests.performance.data_memory"]
            command += ["--work", what, "--folder", str(folder), "--side", str(given.side)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{what:<48}{done.stdout.strip()}", flush=True)


def _write(folder: Path, count: int, side: int) -> None:
    """Noise as .npy files of int16, and a CSV: 10 % each for training and selection."""
    if (folder / "own.csv").exists():
        return
    draws = np.random.default_rng(0)
    with (folder / "own.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("path", "label", "split"))
        for number in range(count):
            split = {0: "train", 1: "val"}.get(number % 10, "test")
            np.save(
                folder / f"{number}.npy",
                draws.integers(0, 4000, (side,) * 3, dtype=np.int16),
            )
            rows.writerow((f"{number}.npy", number // 10 % 2, split))


def _work(what: str, folder: Path, side: int) -> None:
    os.environ["BENCH_CACHE_ROOT"] = str(folder / "cache")
    from torch import nn

    from benchharness import datasets
    from benchharness.datasets import Preparation
    from benchharness.networks.classifier import Classifier

    network = nn.Sequential(nn.AvgPool3d(side // 4), nn.Flatten(), nn.Linear(64, 2))
    classifier = Classifier(network, num_classes=2)
    small = Preparation(size=(8, 8, 8))
    if what == _PREPARE:  # what the program needs to resample anything is the program's
        _warm(folder, small)
    before = _memory()
    most = _Most()
    found = datasets.load(str(folder / "own.csv"), preparation=Preparation(size=(side,) * 3))
    if what == _EVALUATE:
        assert classifier.predict(found.test.volumes, 32).shape == (len(found.test), 2)
    own, pages = most.stop()
    print(f"{(own - before[0]) / 2**30:>7.2f}{(pages - sum(before)) / 2**30:>12.2f}")


def _warm(folder: Path, preparation: object) -> None:
    from benchharness.datasets import reading

    reading.make((folder / "0.npy",), preparation, (8.0, 8.0, 8.0))  # type: ignore[arg-type]


def _memory() -> tuple[int, int]:
    """Bytes of the process's own, and of files that it maps."""
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) * 1024
    return found["RssAnon"], found["RssFile"]


class _Most:
    """The most memory while it watches, every 20 ms."""

    def __init__(self) -> None:
        self._own = self._all = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.is_set():
            own, pages = _memory()
            self._own, self._all = max(self._own, own), max(self._all, own + pages)
            time.sleep(0.02)

    def stop(self) -> tuple[int, int]:
        self._done.set()
        self._thread.join()
        return self._own, self._all


if __name__ == "__main__":
    main()
