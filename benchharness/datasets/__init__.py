"""Datasets: MedMNIST, the embedded phantom, archives in MedMNIST's layout, own files, plug-ins.

`base` says what a dataset is. `medmnist3d` and `medmnist2d` fetch through `medmnist` and read
through `archive`; `embedded` wraps the `phantom`. A user's own `files` are found (`listing`), read
(`reading`), put on one grid (`preparation`, `grids`, in `parallel`) and kept (`prepared`).
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness import registry
from benchharness.datasets import archive, files
from benchharness.datasets.archive import Archive
from benchharness.datasets.base import SPLITS, Dataset, Modality, Spacing, Split, SplitName
from benchharness.datasets.grids import Fit, Grids
from benchharness.datasets.items import Item, Listing
from benchharness.datasets.preparation import Preparation, Window
from benchharness.datasets.prepared import Making, Prepared
from benchharness.datasets.reading import Header, Layer, Made
from benchharness.disk import user_path
from benchharness.errors import BenchError
from benchharness.outside.containment import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "OPTIONS",
    "SPLITS",
    "Archive",
    "Dataset",
    "Fit",
    "Grids",
    "Header",
    "Item",
    "Layer",
    "Listing",
    "Made",
    "Making",
    "Modality",
    "Preparation",
    "Prepared",
    "Spacing",
    "Split",
    "SplitName",
    "Window",
    "is_path",
    "is_prepared",
    "load",
    "options_of",
    "refuse_without_window",
]


def is_path(name: str) -> bool:
    """Whether a dataset's name is a path; a registered name wins over a folder of that name."""
    if name.endswith((".npz", ".csv")) or "/" in name or os.sep in name:
        return True
    return ":" not in name and name not in registry.entries("datasets") and Path(name).is_dir()


def is_prepared(name: str) -> bool:
    """Whether a dataset is a user's own files, which a `Preparation` puts on a grid."""
    return is_path(name) and not name.endswith(".npz")


OPTIONS = tuple(field.name for field in fields(Preparation))
"""The options that concern a person's own data."""


def options_of(name: str) -> tuple[str, ...]:
    """Which of `OPTIONS` concern a dataset: all where files are prepared, some for an .npz.

    A window concerns an archive only where its images are no uint8, which are taken as they are.
    """
    if is_prepared(name):
        return OPTIONS
    if not is_path(name):
        return ()
    path = user_path(name, what="--datasets")
    return ("modality", "classes", *(("window",) if archive.needs_window(path) else ()))


def refuse_without_window(names: Iterable[str]) -> None:
    """Refuse archives whose images need a window, where none was given.

    Raises:
        BenchError: When there is such an archive among the names.
    """
    for name in names:
        if "window" in options_of(name) and not is_prepared(name):
            archive.load(user_path(name, what="--datasets"))


def _refuse_multi_label(name: str) -> None:
    flag, _, size = name.partition("_")
    if flag == "chestmnist" and size in ("", "64", "128", "224"):
        raise BenchError(
            f"{name} is multi-label, with 14 findings per image; robust accuracy needs one class "
            "per image. Take pneumoniamnist for chest radiographs, or the group medmnist2d."
        )


def _is_published(md5: str) -> bool:
    # Imported on use: nothing else here needs the list of published sets.
    from benchharness.datasets import medmnist

    return medmnist.is_published(md5)


def load(name: str, root: Path | None = None, preparation: Preparation | None = None) -> Dataset:
    """Load a dataset.

    Args:
        name: A registered name (`adrenalmnist3d`), `module:factory`, or a path: to an `.npz` in
            MedMNIST's layout, to a folder `train|val|test/<class>/*` of volumes, or to a CSV that
            lists them. A factory is called as `factory(root)` and returns a `Dataset`.
        root: Folder of the MedMNIST archives; None takes `BENCH_DATA_ROOT`, else `~/.medmnist`.
        preparation: How volumes of a folder or a CSV become grids, and what a person says of an
            `.npz`; None for the defaults, and no window for an `.npz`.

    Raises:
        BenchError: When the name is unknown, or its data is absent, damaged or malformed.
    """
    if is_prepared(name):
        return files.load(user_path(name, what="--datasets"), preparation or Preparation())
    if is_path(name):
        path = user_path(name, what="--datasets")
        return archive.load(path, preparation, published=_is_published)
    _refuse_multi_label(name)
    factory: Callable[[Path | None], Dataset] = registry.load("datasets", name)
    if not callable(factory):
        raise BenchError(
            f"dataset {name!r} is not a factory: got {factory!r}, expected a function."
        )
    with loading(f"dataset {name!r}"):
        dataset = factory(root)
    if not isinstance(dataset, Dataset):
        raise BenchError(
            f"the factory of dataset {name!r} returned {type(dataset).__name__}; it must return a "
            "benchharness.datasets.Dataset."
        )
    return dataset
