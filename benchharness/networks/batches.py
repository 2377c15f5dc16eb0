"""Volumes as tensors, and work in batches that shrink when memory runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")


def as_float(volumes: Tensor | NDArray[np.unsignedinteger], device: torch.device | str) -> Tensor:
    """Volumes as float32 in [0, 1] on a device; uint8 is divided by 255, uint16 by 65535."""
    if isinstance(volumes, np.ndarray) and not volumes.flags.writeable:
        volumes = volumes.copy()  # Of a mapped file: torch takes no array that it may not write.
    tensor = torch.as_tensor(volumes)
    if tensor.dtype == torch.uint16:
        return tensor.to(device).float() / 65535
    if tensor.dtype == torch.uint8:
        return tensor.to(device).float() / 255
    return tensor.to(device)


def in_batches(
    function: Callable[[slice], T],
    count: int,
    batch_size: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Call `function` on consecutive slices of range(count), smaller ones if memory runs out.

    Once halved, the batch stays small: the next one would not fit either.

    Args:
        function: From a slice to its result.
        count: Items in all.
        batch_size: Items per slice at first.
        progress: Called with the number of items in each finished slice.

    Raises:
        CellError: If a single item does not fit in memory.
    """
    start = 0
    while start < count:
        stop = min(start + batch_size, count)
        try:
            result = function(slice(start, stop))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if batch_size == 1:
                raise CellError("out of memory with a batch of one volume") from error
            batch_size = max(1, batch_size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield result
        if progress is not None:
            progress(stop - start)
        start = stop


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on any device."""
    # The CPU allocator raises a bare RuntimeError, which only its text tells from others.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
