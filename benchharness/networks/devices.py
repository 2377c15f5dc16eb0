"""The device to run on, and how many volumes fit it at a time."""

from __future__ import annotations

import ctypes
import math
import re

import torch

from benchharness.errors import BenchError

_CPU_VOLUMES, _CUDA_VOLUMES = 32, 256
_REFERENCE_VOXELS = 28**3
_MALLOC_OPTIONS = {-1: 2**31 - 1, -2: 2**28, -3: 2**30}
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt(3), in bytes."""


ALL = "cuda:all"
"""Every CUDA device that torch sees."""


def _count() -> int:
    """CUDA devices that torch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve(name: str) -> str:
    """Resolve `auto`, `cpu` or `cuda[:i]` to a device of this machine.

    Raises:
        BenchError: If the name is unknown or this machine has no such device.
    """
    count = _count()
    if name == ALL or "," in name:
        raise BenchError(
            f"--device {name} names several devices, which only bench run and bench train share "
            "out. Name one."
        )
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise BenchError(f"unknown device {name!r}. Type auto, cpu, cuda or cuda:1.")
    index = int(match[1] or 0)
    if index >= count:
        seen = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
        raise BenchError(
            f"device {name!r} is not available: torch sees {seen}. Type --device auto."
        )
    return f"cuda:{index}"


def several(name: str) -> tuple[str, ...]:
    """Resolve devices for several workers: `cuda:0,cuda:1`, `cuda:all`, or one as for `resolve`.

    Raises:
        BenchError: As `resolve`; when one is named twice, or one of them is a CPU.
    """
    if name == ALL:
        return tuple(f"cuda:{index}" for index in range(_count())) or (resolve("cuda"),)
    if "," not in name:
        return (resolve(name),)
    found = tuple(resolve(part.strip()) for part in name.split(","))
    if "cpu" in found:
        raise BenchError(
            f"--device {name} names a CPU among several devices. Name GPUs alone, or share the "
            "cores with --workers."
        )
    if len(set(found)) < len(found):
        raise BenchError(
            f"--device {name} names a device twice. Name each once; --workers {len(found)} puts "
            "several workers on it."
        )
    return found


def check_compiler(device: str) -> None:
    """Compile a small function, to find out early whether `torch.compile` works.

    Raises:
        BenchError: If it does not work on this machine.
    """
    try:
        torch.compile(torch.nn.Hardswish())(torch.ones(8, device=device))
    except Exception as error:
        # The compiler's own errors share no base class, and span many lines.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise BenchError(
            f"torch.compile does not work here ({reason}). Leave out --compile, or install a C++ "
            "compiler."
        ) from error


def check_precision(precision: str, device: str) -> None:
    """Refuse bfloat16 where it gains nothing.

    Raises:
        BenchError: On a CPU, or a GPU without it.
    """
    if precision == "float32":
        return
    if device == "cpu":
        raise BenchError(
            f"--precision {precision} gains nothing on a CPU. Leave it out, or name a GPU: "
            "--device cuda."
        )
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise BenchError(
            f"--precision {precision} is not in the hardware of {device}. Leave it out."
        )


def keep_memory() -> None:
    """Let the C library keep what it frees, for the rest of this process.

    Every training step allocates the same large tensors again. In between, glibc returns them to
    the system, which costs page faults; keeping them makes a step on a CPU up to a quarter faster.
    With other C libraries this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in _MALLOC_OPTIONS.items():
        mallopt(option, value)


def batch_size(device: str, grid: tuple[int, int, int]) -> int:
    """A batch size that suits a device and volumes of (D, H, W): a power of two, at least one."""
    at_reference = _CPU_VOLUMES if device == "cpu" else _CUDA_VOLUMES
    ideal = at_reference * _REFERENCE_VOXELS / math.prod(grid)
    exponent = math.floor(math.log2(max(1.0, min(ideal, at_reference))))
    return 1 << exponent
