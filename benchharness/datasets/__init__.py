"""Datasets: MedMNIST3D, the embedded phantom, archives in MedMNIST's layout, and plug-ins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness import registry
from benchharness.datasets import archive
from benchharness.datasets.base import Dataset, Modality, Split, SplitName
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Dataset", "Modality", "Split", "SplitName", "is_path", "load"]


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path to an archive rather than a registered name."""
    return name.endswith(".npz") or "/" in name or os.sep in name


def load(name: str, root: Path | None = None) -> Dataset:
    """Load a dataset.

    Args:
        name: A registered name (`adrenalmnist3d`), `module:factory`, or a path to an `.npz` in
            MedMNIST's layout. A factory is called as `factory(root)` and returns a `Dataset`.
        root: Folder of the MedMNIST archives; None leaves it to `BENCH_DATA_ROOT`, else
            `~/.medmnist`.

    Raises:
        BenchError: When the name is unknown, or its data is absent, damaged or not what it says.
    """
    if is_path(name):
        return archive.load(Path(name).expanduser())
    factory: Callable[[Path | None], Dataset] = registry.load("datasets", name)
    if not callable(factory):
        raise BenchError(
            f"dataset {name!r} is not a factory: got {factory!r}, expected a function."
        )
    dataset = factory(root)
    if not isinstance(dataset, Dataset):
        raise BenchError(
            f"the factory of dataset {name!r} returned {type(dataset).__name__}; it must return a "
            "benchharness.datasets.Dataset."
        )
    return dataset
