"""What networks cost, as a table for documentation: `bench costs`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from tabulate import tabulate

from benchharness import registry
from benchharness.errors import BenchError
from benchharness.networks import building, costs, devices
from benchharness.networks.classifier import Classifier
from benchharness.store import provenance
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADER = ("model", "parameters (M)", "GFLOP", "latency (ms)", "peak memory (MiB)")
SMALLEST = 16
"""Voxels per axis below which the deeper networks have nothing left to work on."""

_NUM_CLASSES = 2
_REPEATS = 5


def parse_sizes(text: str) -> tuple[int, ...]:
    """Voxels per axis from `28,64`.

    Raises:
        BenchError: For anything but whole numbers from 16 up.
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
    """Measure networks with drawn weights, two classes and one channel, at some grids.

    Parameters, operations and memory are those of one forward pass of one volume and hold
    everywhere; the latency of that pass is of this machine. With a single thread on a CPU it is
    processor time, which does not grow with what else the machine does; otherwise elapsed time.

    Args:
        models: Names as in `bench run`; None measures every built-in and plug-in.
        sizes: Voxels per axis.
        device: `auto`, `cpu` or `cuda[:i]`.
        note: Told each network before it is measured.

    Returns:
        A heading, the machine, and one table a size, as Markdown.
    """
    where = devices.resolve(device)
    names = registry.expand("models", tuple(models or registry.entries("models")))
    entries = [registry.resolve("models", name) for name in names]
    parts = [f"One volume a pass, float32, {_machine(where)}."]
    for size in sizes:
        rows = []
        for entry in entries:
            note(f"{entry.name} at {size}³")
            rows.append(_row(ModelKey(name=entry.name, factory=entry.target), size, where))
        # Numbers stay as they are written: what is aligned is text.
        table = tabulate(rows, headers=HEADER, tablefmt="github", disable_numparse=True)
        parts += [f"### {size}³", table]
    return "\n\n".join(parts)


def _row(model: ModelKey, size: int, device: str) -> tuple[str, ...]:
    network = building.build_network(model, num_classes=_NUM_CLASSES, in_channels=1)
    classifier = Classifier(network, num_classes=_NUM_CLASSES, device=device)
    cost = costs.measure(
        classifier,
        (1, size, size, size),
        batch=1,
        repeats=_REPEATS,
        clock=time.process_time if _alone(device) else time.perf_counter,
    )
    return (
        f"`{model.name}`",
        f"{cost.parameters / 1e6:.2f}",
        f"{count_flops(model, size) / 1e9:.2f}",
        f"{cost.latency_ms:.0f}" if cost.latency_ms >= 10 else f"{cost.latency_ms:.1f}",
        f"{cost.peak_memory_mib:.0f}" if cost.peak_memory_mib is not None else "–",
    )


def count_flops(model: ModelKey, size: int) -> int:
    """Operations of a forward pass of one volume, counted on the meta device.

    There every kernel is torch's plain one, so that no device's own way of computing attention or
    convolutions hides operations from the counter.
    """
    with torch.device("meta"):
        network = building.build_network(model, num_classes=_NUM_CLASSES, in_channels=1).eval()
        volume = torch.empty(1, 1, size, size, size)
    with torch.no_grad():
        return costs.count_flops(network, volume)


def _alone(device: str) -> bool:
    """Whether processor time is the latency of a pass: one thread, no accelerator."""
    return device == "cpu" and torch.get_num_threads() == 1


def _machine(device: str) -> str:
    found = provenance.collect(device)
    threads = torch.get_num_threads()
    where = ""
    if device == "cpu":
        where = ", one thread, processor time" if _alone(device) else f", {threads} threads"
    return f"{found['device_name']}{where}, torch {found['versions']['torch']}"
