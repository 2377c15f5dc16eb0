"""What a network costs: parameters, operations, latency and peak memory of a forward pass."""

from __future__ import annotations

import statistics
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchharness.errors import BenchError, CellError
from benchharness.networks import building
from benchharness.networks.formats.programs import Program
from benchharness.outside.containment import contained, in_one_line
from benchharness.store.records import ModelCost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from benchharness.networks.classifier import Classifier
    from benchharness.store.cells import ModelKey

T = TypeVar("T")

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
        batch: Volumes per pass for the latency, fewer if the network or the memory takes no more.
            Everything else is measured on one volume. If the network refuses one, operations are
            those of the smallest batch that it takes, per volume, and the memory is unknown.
        repeats: Timed passes, of which the median is taken.
        clock: In seconds; `time.process_time` leaves out what else runs on the processor.

    Raises:
        CellError: If the network takes none of these batches, or cannot be looked into.
    """
    if isinstance(classifier.network, Program) and classifier.network.uncounted:
        raise CellError(classifier.network.uncounted)
    one = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    one = one.to(classifier.device)

    def volumes(count: int) -> Tensor:
        return one.expand(count, *shape).clone(memory_format=torch.contiguous_format)

    fewer = [batch >> halvings for halvings in range(batch.bit_length())]
    with contained(), classifier.frozen(), torch.no_grad():
        least, flops = _taken(
            [1, *(size for size in reversed(fewer) if size > 1)],
            lambda size: count_flops(classifier, volumes(size)),
        )
        peak = _peak_memory_mib(classifier, volumes(1)) if least == 1 else None
        latency_batch, latency = _taken(
            [*fewer, least],
            lambda size: _latency_ms(classifier, volumes(size), repeats, clock),
        )
    return ModelCost(
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        flops=round(flops / least),
        latency_ms=latency,
        latency_batch=latency_batch,
        peak_memory_mib=peak,
    )


def _taken(sizes: Sequence[int], pass_of: Callable[[int], T]) -> tuple[int, T]:
    """The first of several batch sizes that the network takes, and what its pass gave."""
    refusal = ""
    for size in dict.fromkeys(sizes):
        try:
            return size, pass_of(size)
        except Exception as error:
            # A user's network may refuse a batch in any way; memory may run out.
            refusal = in_one_line(error)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    tried = ", ".join(str(size) for size in dict.fromkeys(sizes))
    raise CellError(f"the network takes no batch of {tried} volumes: {refusal}")


def _peak_memory_mib(classifier: Classifier, volumes: Tensor) -> float | None:
    """Peak memory in MiB; None where operations cannot be followed."""
    try:
        return _peak_memory(classifier, volumes) / _MIB
    except Exception:
        # Not every network can run while its operations are watched.
        return None


def flops_of(model: ModelKey, *, num_classes: int, shape: Sequence[int]) -> int:
    """Operations of a forward pass of one volume of shape (C, D, H, W).

    They are counted on the meta device. There every kernel is torch's plain one, so no device's own
    way of computing attention or convolutions hides operations from the counter, and no arithmetic
    is done. A network that does not work there is built and run on the CPU.

    Raises:
        BenchError: If there is no such factory or it does not take these arguments.
        CellError: If the network cannot be built or run.
    """
    refusal = ""
    for device, count in (("meta", 1), ("cpu", 1), ("cpu", 2)):
        try:
            with torch.device(device):
                network = building.build_network(
                    model, num_classes=num_classes, in_channels=shape[0]
                )
                volumes = torch.zeros((count, *shape))
            with contained(), torch.no_grad():
                return round(count_flops(network.eval(), volumes) / count)
        except BenchError:
            raise
        except Exception as error:
            refusal = in_one_line(error)
    raise CellError(f"the operations of {model.name!r} cannot be counted: {refusal}")


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
