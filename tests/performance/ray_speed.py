"""The efficiency of workers on a Ray cluster of two nodes, simulated on this machine.

Cells sleep, so that the engine itself is measured and not the cores. Workers have started before a
clock runs.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchharness.run.engines.ray import Ray
from tests.performance.engine_speed import CELLS, SLEEP_S, WORKERS, sleeping, timed_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.engine_speed import Driven

_PER_WORKER = 16
"""Cells."""


@contextmanager
def two_nodes(workers: int) -> Iterator[str]:
    """The address of a cluster with room for so many workers."""
    from ray.cluster_utils import Cluster

    first, second = (workers + 1) // 2, max(1, workers // 2)
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": first, "object_store_memory": 10**8}
    )
    made.add_node(num_cpus=second, object_store_memory=10**8)
    yield made.address
    made.shutdown()


def measure(workers: int, cells: int, seconds: float) -> Driven:
    """Time cells that sleep on so many workers."""
    enter = Ray.__enter__

    def started(engine: Ray) -> Ray:
        enter(engine)
        wait([one.started for one in engine.workers])
        return engine

    with (
        tempfile.TemporaryDirectory() as folder,
        two_nodes(workers) as address,
        mock.patch.object(Ray, "__enter__", started),
    ):
        asked = sleeping(Path(folder) / "run", cells, seconds)
        return timed_run(replace(asked, engine="ray", address=address, workers=workers))


def main() -> None:
    """Print the efficiency by number of workers, and what a cell costs besides its own time."""
    for count in WORKERS:
        done = measure(count, _PER_WORKER * count, SLEEP_S)
        share = done.busy / (count * done.wall)
        print(f"{count} workers, cells of {SLEEP_S} s that sleep: efficiency {share:.3f}")
    done = measure(1, CELLS, 0.0)
    lost = (done.wall - done.busy) / done.cells
    print(f"scheduling, sending and storing: {1000 * lost:.1f} ms a cell, over {CELLS} cells")


if __name__ == "__main__":
    main()
