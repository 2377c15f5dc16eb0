"""Batched artefacts against TorchIO in a plain loop, and the whole suite, side by side."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from benchharness import artefacts, datasets, randomness, registry
from benchharness.artefacts import LEVELS, batched
from benchharness.artefacts.corruption import corrupt
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

    from benchharness.artefacts import Artefact

GRID, BATCH, LEVEL, ROUNDS = 64, 8, 3, 5


def main(arguments: list[str] | None = None) -> None:
    """Print both times a volume and their ratio for every pair; on request the whole suite's."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.artefact_speed")
    parser.add_argument("--suite", action="store_true", help="time all artefacts, five levels")
    parser.add_argument("--dataset", default="adrenalmnist3d", help="of which the suite is timed")
    chosen = parser.parse_args(arguments)
    if chosen.suite:
        suite(chosen.dataset)
        return
    pairs()


def pairs() -> None:
    """Every batched implementation beside TorchIO, on the CPU and on a GPU where there is one."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    volumes = torch.rand(BATCH, 1, GRID, GRID, GRID, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    print(f"artefacts, level {LEVEL}, batch {BATCH}, {GRID}³, {threads} threads, ms a volume")
    print(f"{'artefact':<14}{'device':<8}{'TorchIO':>9}{'batched':>9}{'ratio':>8}{'max |Δ|':>10}")
    for artefact in map(artefacts.build, registry.BUILT_IN["artefacts"]):
        if not batched.available(artefact):
            continue
        for device in devices:
            print(_row(artefact, volumes, device))


def _row(artefact: Artefact, volumes: Tensor, device: str) -> str:
    there = volumes.to(device)

    def plain() -> Tensor:
        made = [artefact.apply(v.clone(), LEVEL, g) for v, g in zip(volumes, _draws(), strict=True)]
        return torch.stack(made).to(device)

    def together() -> Tensor:
        made = batched.IMPLEMENTATIONS[type(artefact)](artefact, there, LEVEL, _draws())
        if device == "cuda":
            torch.cuda.synchronize()
        return made

    seconds: dict[str, list[float]] = {"plain": [], "together": []}
    results = {}
    for _ in range(ROUNDS):
        results["plain"] = _timed(seconds["plain"], plain)
        results["together"] = _timed(seconds["together"], together)
    naive, ours = (statistics.median(values) * 1000 / BATCH for values in seconds.values())
    apart = float((results["plain"] - results["together"]).abs().max())
    return (
        f"{artefact.name:<14}{device:<8}{naive:>9.2f}{ours:>9.2f}{naive / ours:>8.1f}{apart:>10.1e}"
    )


def _draws() -> list[Generator]:
    return [randomness.torch_generator("bench", index) for index in range(BATCH)]


def suite(name: str) -> None:
    """Time every artefact at five levels on a test set, as the harness makes it the first time."""
    try:
        split = datasets.load(name, None).test
    except BenchError as error:
        print(f"the suite was not timed: {error}")
        return
    grid, count = split.volumes.shape[-1], len(split)
    print(f"the suite on {name}: {count} volumes, {grid}³, five levels, seconds")
    total = 0.0
    for artefact in map(artefacts.build, registry.BUILT_IN["artefacts"]):
        began = time.perf_counter()
        for level in LEVELS:
            corrupt(artefact, split.volumes, split.ids, severity=level, seed=0)
        seconds = time.perf_counter() - began
        total += seconds
        print(f"{artefact.name:<16}{seconds:>8.1f}", flush=True)
    print(f"{'all':<16}{total:>8.1f}")


def _timed(durations: list[float], call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    with torch.no_grad():
        result = call()
    durations.append(time.perf_counter() - began)
    return result


if __name__ == "__main__":
    main()
