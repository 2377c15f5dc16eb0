"""The tables that `bench costs` prints: every network measured by `costs`, as Markdown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from tabulate import tabulate

from benchharness import registry
from benchharness.errors import BenchError, CellError
from benchharness.networks import building, costs, devices, fitting
from benchharness.networks.classifier import Classifier
from benchharness.store import provenance
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADER = ("model", "parameters (M)", "GFLOP", "latency (ms)", "peak memory (MiB)")
SMALLEST = 16
"""Fewest voxels per axis that the deeper networks can work on."""

_NUM_CLASSES = 2
_REPEATS = 5


def parse_sizes(text: str) -> tuple[int, ...]:
    """Voxels per axis from `28,64`.

    Raises:
        BenchError: If there is anything but whole numbers from 16 up.
    """
    sizes = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= SMALLEST for part in sizes):
        raise BenchError(f"--sizes takes whole numbers from {SMALLEST} up, got {text!r}.")
    return tuple(dict.fromkeys(int(part) for part in sizes))


def markdown(
    models: Sequence[str] | None,
    sizes: Sequence[int],
    device: str,
    note: Callable[[str], None] = lambda _: None,
) -> str:
    """Measure untrained networks with two classes and one channel at several sizes.

    All costs are of one forward pass of one volume. Parameters, operations and memory are the same
    on every machine; the latency is this machine's. On one CPU thread it is processor time, which
    does not depend on what else runs, and elapsed time otherwise.

    Args:
        models: Names as in `bench run`; None measures every built-in and plug-in.
        sizes: Voxels per axis.
        device: `auto`, `cpu` or `cuda[:i]`.
        note: Called with a line about each network before it is measured.

    Returns:
        A line on the machine, then a heading and a table for each size, as Markdown.
    """
    where = devices.resolve(device)
    names = registry.expand("models", tuple(models or registry.entries("models")))
    entries = [registry.resolve("models", name) for name in names]
    parts = [f"One volume per pass, float32, {_machine(where)}."]
    for size in sizes:
        rows = []
        for entry in entries:
            note(f"{entry.name} at {size}³")
            rows.append(_row(ModelKey(name=entry.name, factory=entry.target), size, where))
        # The numbers are formatted already; tabulate would parse and format them again.
        table = tabulate(rows, headers=HEADER, tablefmt="github", disable_numparse=True)
        parts += [f"### {size}³", table]
    return "\n\n".join(parts)


def _row(model: ModelKey, size: int, device: str) -> tuple[str, ...]:
    try:
        network = building.build_network(model, num_classes=_NUM_CLASSES, in_channels=1)
        classifier = Classifier(network, num_classes=_NUM_CLASSES, device=device)
        classifier.outputs = fitting.unjudged(classifier, torch.rand(2, 1, size, size, size))
        cost = costs.measure(
            classifier,
            (1, size, size, size),
            batch=1,
            repeats=_REPEATS,
            clock=time.process_time if _one_thread(device) else time.perf_counter,
        )
        flops = flops_at(model, size)
    except CellError as error:
        # One network that fails leaves the others' rows.
        return (f"`{model.name}`", f"failed: {error}", "–", "–", "–")
    return (
        f"`{model.name}`",
        f"{cost.parameters / 1e6:.2f}",
        f"{flops / 1e9:.2f}",
        f"{cost.latency_ms:.0f}" if cost.latency_ms >= 10 else f"{cost.latency_ms:.1f}",
        f"{cost.peak_memory_mib:.0f}" if cost.peak_memory_mib is not None else "–",
    )


def flops_at(model: ModelKey, size: int) -> int:
    """Operations of a forward pass of one volume of size³; see `costs.flops_of`."""
    return costs.flops_of(model, num_classes=_NUM_CLASSES, shape=(1, size, size, size))


def _one_thread(device: str) -> bool:
    """Whether processor time is the latency of a pass."""
    return device == "cpu" and torch.get_num_threads() == 1


def _machine(device: str) -> str:
    found = provenance.collect(device)
    threads = torch.get_num_threads()
    where = ""
    if device == "cpu":
        where = ", one thread, processor time" if _one_thread(device) else f", {threads} threads"
    return f"{found['device_name']}{where}, torch {found['versions']['torch']}"
