"""Volumes as float32, and batches that shrink when memory runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchharness.errors import CellError
from benchharness.networks.batches import as_float, in_batches


def test_integers_become_fractions_of_their_range() -> None:
    for dtype, largest in ((np.uint8, 255), (np.uint16, 65535)):
        made = as_float(np.array([0, 1, largest], dtype), "cpu")
        assert made.dtype == torch.float32
        assert torch.equal(made, torch.tensor([0.0, 1.0, float(largest)]) / largest)
    given = torch.rand(2, 1, 3, 3, 3)
    assert as_float(given, "cpu") is given


def hungry(limit: int, error: Exception, seen: list[slice]) -> Any:
    """A function of slices that fails on more than `limit` items."""

    def function(batch: slice) -> list[int]:
        seen.append(batch)
        if batch.stop - batch.start > limit:
            raise error
        return list(range(batch.start, batch.stop))

    return function


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_out_of_memory_halves_the_batch_and_goes_on(error: Exception) -> None:
    seen: list[slice] = []
    done: list[int] = []
    parts = list(in_batches(hungry(3, error, seen), 11, 8, progress=done.append))
    assert [item for part in parts for item in part] == list(range(11))
    assert done == [2, 2, 2, 2, 2, 1]
    assert [s.stop - s.start for s in seen] == [8, 4, 2, 2, 2, 2, 2, 1], "once halved, it stays"


@pytest.mark.parametrize("error", SHORTAGES)
def test_a_single_item_that_does_not_fit_is_a_fault_of_the_cell(error: Exception) -> None:
    with pytest.raises(CellError, match=r"^out of memory with a batch of one volume$"):
        list(in_batches(hungry(0, error, []), 4, 4))


def test_another_error_is_no_reason_to_halve() -> None:
    seen: list[slice] = []
    with pytest.raises(RuntimeError, match="another"):
        list(in_batches(hungry(0, RuntimeError("another"), seen), 4, 4))
    assert len(seen) == 1
