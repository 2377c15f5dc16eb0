"""The cache of prepared volumes: a listing is put on its grid once, and read from there afterwards.

The digest covers the bytes of every file, its split, label and patient, and the resolved options,
so it names the evaluated data wherever the files are. The cache holds two kinds of file: an archive
of uint8 volumes named after that digest, and a small index named after what the file system says of
the sources (path, size, times), which saves reading them again. Both are written whole or not at
all; one process prepares while others wait. Both carry a seal (see `caches`): one that is damaged,
exchanged or of something else is made anew. Anything there may be removed at any time.

Files that an earlier version misread (another unit than mm, lost integers, a missing face) have
marks, and the digest of a dataset with any covers them: what was measured on wrong voxels is other
data.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.canonical import canonical_json, digest, read_json
from benchharness.datasets import grids
from benchharness.datasets.base import SPLITS
from benchharness.datasets.listing import refuse_equal_files
from benchharness.datasets.parallel import each
from benchharness.disk import caches, file_sha256, locked, write_arrays, write_atomically
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from benchharness.datasets.base import Spacing, SplitName
    from benchharness.datasets.grids import Fit, Grids
    from benchharness.datasets.listing import Item, Listing
    from benchharness.datasets.preparation import Preparation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The volumes of a listing on their grid."""

    digest: str
    """64 hexadecimal digits."""
    spacing: Spacing | None
    """None where the files state no spacing in millimetres."""
    driver: str | None
    """The training volume that decided a fitted spacing; None for a stated one."""
    volumes: dict[SplitName, NDArray[np.uint8]]
    """By split, (N, 1, D, H, W) in the order of the listing."""


def load(found: Listing, preparation: Preparation) -> Prepared:
    """Take prepared volumes from the cache, or prepare them and keep them there.

    Raises:
        BenchError: When a volume cannot be read or used, some files know their spacing and some do
            not, a file is in two splits, or the cache cannot be written.
    """
    index = caches.cache_folder("prepared") / f"{_stamp(found, preparation)}.json"
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
        entry = read_json(index.read_bytes()) if index.is_file() else {}
        seal = entry.pop("sha256", None)
        if seal != digest(entry) or entry["stamp"] != index.stem:
            return None
        name, spacing, driver = entry["digest"], entry["spacing"], entry["driver"]
    except Exception:  # damaged bytes may raise anything
        return None
    stored = _stored(index.with_name(f"{name}.npz"), found)
    if stored is None:
        return None
    where = None if spacing is None else tuple(spacing)
    return _prepared(name, stored, where, driver)


def _key(path: Path, found: Listing) -> dict[str, Any]:
    """What an archive is sealed with; its name covers all that decides its voxels."""
    return {"prepared": path.stem, "counts": {split: len(found.of(split)) for split in SPLITS}}


def _stored(path: Path, found: Listing) -> Grids | None:
    arrays = caches.unsealed(path, _key(path, found))
    if arrays is None:
        return None
    return grids.Grids(
        volumes={split: arrays[split] for split in SPLITS},
        marks=tuple(
            (split, name, tuple(why)) for split, name, why in read_json(arrays["marks"].item())
        ),
    )


def _keep(path: Path, made: Grids, found: Listing) -> None:
    arrays: dict[str, NDArray[Any]] = {split: made.volumes[split] for split in SPLITS}
    arrays["marks"] = np.asarray(canonical_json(made.marks).encode())
    write_arrays(path, **caches.seal(_key(path, found), arrays))


def _prepared(name: str, made: Grids, spacing: Spacing | None, driver: str | None) -> Prepared:
    return Prepared(
        digest=digest([name, made.marks]) if made.marks else name,
        spacing=spacing,
        driver=driver,
        volumes=made.volumes,
    )


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """Hold the lock of an index; errors in writing the cache become one line."""
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        with locked(index.with_suffix(".lock")):
            yield
    except OSError as error:
        raise BenchError(
            f"cannot keep prepared volumes in {index.parent}: {error.strerror or error}. Name a "
            "folder that can be written in BENCH_CACHE_ROOT."
        ) from error


def _prepare(found: Listing, preparation: Preparation, index: Path) -> Prepared:
    fit = grids.find_spacing(found, preparation)
    name = _digest(found, preparation, fit.spacing)
    path = index.with_name(f"{name}.npz")
    made = _stored(path, found)
    if made is None:
        made = grids.volumes(found, preparation, fit.spacing)
        _keep(path, made, found)
    _note(index, name, fit)
    return _prepared(name, made, fit.spacing if fit.physical else None, fit.driver)


def _note(index: Path, name: str, fit: Fit) -> None:
    """Write the index, with a digest of its own text."""
    entry = {
        "stamp": index.stem,
        "digest": name,
        "spacing": fit.spacing if fit.physical else None,
        "driver": fit.driver,
    }
    write_atomically(index, canonical_json(entry | {"sha256": digest(entry)}).encode())


def _digest(found: Listing, preparation: Preparation, spacing: Spacing) -> str:
    """Digest of the data, wherever the files are; equal files in two splits are refused."""
    hashes = each(found.items, lambda item: file_sha256(item.path, what="volume"), "reading files")
    refuse_equal_files(found, hashes)
    files = [[*_meaning(item), sha] for item, sha in zip(found.items, hashes, strict=True)]
    return digest([preparation.resolved(spacing), files])
