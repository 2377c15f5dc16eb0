"""What a network costs: parameters, operations, latency and peak memory of a forward pass."""

from __future__ import annotations

import statistics
import time
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchharness.store.records import ModelCost

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from benchharness.networks.classifier import Classifier

LATENCY_BATCH = 8
_REPEATS = 7
_MIB = 2**20


def measure(
    classifier: Classifier,
    shape: tuple[int, int, int, int],
    *,
    batch: int = LATENCY_BATCH,
    repeats: int = _REPEATS,
    clock: Callable[[], float] = time.perf_counter,
) -> ModelCost:
    """Measure the cost of a classifier on volumes of shape (C, D, H, W).

    Parameters, operations and memory are the same on every machine; latency is not.

    Args:
        classifier: Left as it was.
        shape: (C, D, H, W).
        batch: Volumes per pass for the latency; everything else is measured on one volume.
        repeats: Timed passes, of which the median is taken.
        clock: In seconds; `time.process_time` leaves out what else runs on the processor.
    """
    with classifier.frozen(), torch.no_grad():
        one = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
        one = one.to(classifier.device)
        peak = _peak_memory(classifier, one)
        flops = count_flops(classifier, one)
        latency = _latency_ms(classifier, one.expand(batch, *shape).contiguous(), repeats, clock)
    return ModelCost(
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        flops=flops,
        latency_ms=latency,
        latency_batch=batch,
        peak_memory_mib=peak / _MIB,
    )


def count_flops(network: nn.Module, volumes: Tensor) -> int:
    """Operations of one forward pass, as torch counts them: convolutions and matrix products.

    A multiply-add counts as two. Runs on the meta device too.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        network(volumes)
    flops: int = counter.get_total_flops()
    return flops


def _latency_ms(
    classifier: Classifier, volumes: Tensor, repeats: int, clock: Callable[[], float]
) -> float:
    """Median milliseconds per volume; the first two passes warm up and do not count."""
    durations = []
    for repeat in range(repeats + 2):
        began = clock()
        classifier(volumes)
        if volumes.is_cuda:
            torch.cuda.synchronize(volumes.device)
        if repeat >= 2:
            durations.append(clock() - began)
    return statistics.median(durations) * 1000 / len(volumes)


def _peak_memory(classifier: Classifier, volumes: Tensor) -> int:
    """Most bytes held at once: weights, buffers, input and live intermediate tensors."""
    held = [*classifier.parameters(), *classifier.buffers(), volumes]
    with _LiveMemory(sum(tensor.nbytes for tensor in held)) as live:
        classifier(volumes)
    peak: int = live.peak
    return peak


class _LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations create until they are freed.

    Unlike an allocator's statistics, this gives the same number on every device. It does not see
    the workspace inside a kernel.
    """

    def __init__(self, base: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current: int = base
        self.peak: int = base
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        for leaf in tree_leaves(result):
            if _is_tensor(leaf) and _storage(leaf) not in inputs | self._seen:
                storage = leaf.untyped_storage()
                self._seen.add(_storage(leaf))
                self.current += storage.nbytes()
                weakref.finalize(storage, self._free, _storage(leaf), storage.nbytes())
        self.peak = max(self.peak, self.current)
        return result

    def _free(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.current -= size


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor)


def _storage(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage().data_ptr()
    return address
