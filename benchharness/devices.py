"""Which device to run on, and how many volumes at a time."""

from __future__ import annotations

import math
import re

import torch

from benchharness.errors import BenchError

_CPU_VOLUMES, _CUDA_VOLUMES = 32, 256
_REFERENCE_VOXELS = 28**3


def resolve(name: str) -> str:
    """Turn `auto`, `cpu` or `cuda[:i]` into a device that is there.

    Raises:
        BenchError: For another name, or a device that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise BenchError(f"unknown device {name!r}. Type auto, cpu, cuda or cuda:1.")
    index = int(match[1] or 0)
    if index >= count:
        there = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
        raise BenchError(f"device {name!r} is not there: torch sees {there}. Type --device auto.")
    return f"cuda:{index}"


def batch_size(device: str, grid: tuple[int, int, int]) -> int:
    """A batch size that suits a device and a volume of (D, H, W); a power of two, at least one."""
    at_reference = _CPU_VOLUMES if device == "cpu" else _CUDA_VOLUMES
    ideal = at_reference * _REFERENCE_VOXELS / math.prod(grid)
    exponent = math.floor(math.log2(max(1.0, min(ideal, at_reference))))
    return 1 << exponent
