"""The cache of prepared volumes: a listing is put on its grid once, and read from there afterwards.

The digest covers the bytes of every file, its split, label and patient, and the resolved options,
so it names the evaluated data wherever the files are. The cache holds two kinds of file: an archive
of uint8 volumes named after that digest, and a small index named after what the file system says of
the sources (path, size, times), which saves reading them again. Both are written whole or not at
all; one process prepares while others wait. Anything there may be removed at any time.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from benchharness.canonical import canonical_json, digest, read_json
from benchharness.datasets import grids
from benchharness.datasets.base import SPLITS
from benchharness.datasets.listing import refuse_equal_files
from benchharness.datasets.parallel import each
from benchharness.disk import (
    DAMAGE,
    cache_folder,
    file_sha256,
    read_arrays,
    write_arrays,
    write_atomically,
)
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.base import Spacing, SplitName
    from benchharness.datasets.listing import Item, Listing
    from benchharness.datasets.preparation import Preparation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The volumes of a listing on their grid."""

    digest: str
    """64 hexadecimal digits."""
    spacing: Spacing | None
    """None where the files do not tell millimetres."""
    volumes: dict[SplitName, NDArray[np.uint8]]
    """By split, (N, 1, D, H, W) in the order of the listing."""


def load(found: Listing, preparation: Preparation) -> Prepared:
    """Take prepared volumes from the cache, or prepare them and keep them there.

    Raises:
        BenchError: When a volume cannot be read or used, some files know their spacing and some do
            not, a file is in two splits, or the cache cannot be written.
    """
    index = cache_folder("prepared") / f"{_stamp(found, preparation)}.json"
    if (known := _recalled(index, found)) is not None:
        return known
    with _alone(index):
        known = _recalled(index, found)
        return _prepare(found, preparation, index) if known is None else known


def _stamp(found: Listing, preparation: Preparation) -> str:
    """What would differ if a source had been touched; the change time cannot be set by hand."""

    def stat(item: Item) -> list[object]:
        try:
            state = item.path.stat()
        except OSError as error:
            raise BenchError(
                f"cannot read volume {item.path}: {error.strerror or error}. Correct its path, or "
                "take it out of the dataset."
            ) from error
        place = os.path.realpath(item.path)
        return [place, state.st_size, state.st_mtime_ns, state.st_ctime_ns, *_meaning(item)]

    options = preparation.resolved(preparation.spacing or (0.0, 0.0, 0.0))
    return digest([options, [stat(item) for item in found.items]])


def _meaning(item: Item) -> list[object]:
    return [item.split, item.name, item.label, item.patient]


def _recalled(index: Path, found: Listing) -> Prepared | None:
    """What the cache holds; None when it holds nothing or something damaged."""
    try:
        entry = read_json(index.read_bytes())
        name, spacing = str(entry["digest"]), entry["spacing"]
        volumes = _stored(index.with_name(f"{name}.npz"), found)
        where = None if spacing is None else tuple(spacing)
    except DAMAGE:
        return None
    return None if volumes is None else Prepared(digest=name, spacing=where, volumes=volumes)


def _stored(path: Path, found: Listing) -> dict[SplitName, NDArray[np.uint8]] | None:
    try:
        arrays = read_arrays(path)
        volumes = {split: arrays[split] for split in SPLITS}
    except DAMAGE:
        return None
    fitting = all(
        volumes[split].dtype == np.uint8 and len(volumes[split]) == len(found.of(split))
        for split in SPLITS
    )
    return volumes if fitting else None


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """Hold the lock of an index; errors in writing the cache become one line."""
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(index.with_suffix(".lock")):
            yield
    except OSError as error:
        raise BenchError(
            f"cannot keep prepared volumes in {index.parent}: {error.strerror or error}. Name a "
            "folder that can be written in BENCH_CACHE_ROOT."
        ) from error


def _prepare(found: Listing, preparation: Preparation, index: Path) -> Prepared:
    spacing, physical = grids.find_spacing(found, preparation)
    name = _digest(found, preparation, spacing)
    path = index.with_name(f"{name}.npz")
    volumes = _stored(path, found)
    if volumes is None:
        volumes = grids.volumes(found, preparation, spacing)
        write_arrays(path, **volumes)
    where = spacing if physical else None
    write_atomically(index, canonical_json({"digest": name, "spacing": where}).encode())
    return Prepared(digest=name, spacing=where, volumes=volumes)


def _digest(found: Listing, preparation: Preparation, spacing: Spacing) -> str:
    """Digest of the data, wherever the files are; equal files in two splits are refused."""
    hashes = each(found.items, lambda item: file_sha256(item.path, what="volume"), "reading files")
    refuse_equal_files(found, hashes)
    files = [[*_meaning(item), sha] for item, sha in zip(found.items, hashes, strict=True)]
    return digest([preparation.resolved(spacing), files])
