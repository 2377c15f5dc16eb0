"""Where and with what a number was made: stored beside it, never part of its identity."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "torchattacks", "torchio", "monai")


def package_version() -> str:
    """The installed version of this package, which only `pyproject.toml` states."""
    try:
        return version("benchharness")
    except PackageNotFoundError:
        return "not installed"


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of this package and of every package that can change a number."""
    found = {"python": platform.python_version(), "benchharness": package_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def device_name(device: str) -> str:
    """The name of the processor or accelerator, as it reports it."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor()


@cache
def _processor() -> str:
    # platform.processor() is empty on most Linux systems; the kernel reports the name.
    try:
        listing = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in listing.splitlines())
    keys = (line.partition(":")[0].strip() for line in listing.splitlines())
    return next((n for k, n in zip(keys, names, strict=True) if k == "model name"), "CPU")


def collect(device: str) -> dict[str, Any]:
    """What a reader may want to know about the machine that made a number."""
    import torch

    return {
        "device": device,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }
