"""What a second process gains on this machine: the ceiling of two workers.

Two processes that share no work share the processor's clock, its last cache and its memory. So each
load runs in one process of one thread and in two at once, and the printed ratio is the work of both
together over the work of one alone. `engine_speed` says how much of this two workers reach.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import torch

from benchharness import registry
from benchharness.networks.acceleration import accelerated

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 6.0
"""For which a load is repeated."""
_START_S = 3.0
"""After which all processes have imported torch and begin together."""
_VOLUMES = 16


def _products() -> Callable[[], object]:
    """Matrices that stay in a core's own cache."""
    first, second = torch.randn(192, 192), torch.randn(192, 192)
    return lambda: first @ second


def _stream() -> Callable[[], object]:
    """128 MB that pass through memory."""
    values = torch.randn(32_000_000)
    return lambda: values.mul_(1.0001)


def _gradient(model: str) -> Callable[[], object]:
    """The gradient of a batch of volumes, as a step of `pgd` takes it."""
    plain = registry.load("models", model)(4, 1).eval().requires_grad_(requires_grad=False)
    network = accelerated(plain, torch.device("cpu"))
    volumes = torch.rand(_VOLUMES, 1, 28, 28, 28, requires_grad=True)
    return lambda: torch.autograd.grad(network(volumes).sum(), volumes)


LOADS: dict[str, Callable[[], Callable[[], object]]] = {
    "products in cache": _products,
    "memory": _stream,
    "gradient of medvit3d_t": lambda: _gradient("medvit3d_t"),
    "gradient of resnet3d_18": lambda: _gradient("resnet3d_18"),
}


def rate(load: str, start: float) -> float:
    """How often a load runs in a second, on one thread, from `start` on (`time.time`)."""
    torch.set_num_threads(1)
    step = LOADS[load]()
    step()
    time.sleep(max(0.0, start - time.time()))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        step()
        done += 1
    return done / (time.perf_counter() - began)


def together(load: str, processes: int) -> float:
    """The rates of so many processes at once, summed."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        list(pool.map(rate, [load] * processes, [0.0] * processes))
        start = time.time() + _START_S
        return sum(pool.map(rate, [load] * processes, [start] * processes))


def main() -> None:
    """Print each load's ratio."""
    for load in LOADS:
        alone = (together(load, 1), together(load, 1))
        both = together(load, 2)
        print(f"two processes, {load}: {both / (sum(alone) / 2):.2f}× one")


if __name__ == "__main__":
    main()
