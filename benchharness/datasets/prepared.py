"""The cache of prepared volumes: a listing is put on its grid once, and read from there afterwards.

The digest covers the bytes of every file, its split, label and patient, and the resolved options,
so it names the evaluated data wherever the files are. The cache holds two kinds of file: an archive
of volumes named after that digest, and a small index named after what the file system says of the
sources (path, size, times), which saves reading them again. Both are written whole or not at all;
one process prepares while others wait. Both carry a seal (see `disk.sealed`): one that is damaged,
exchanged or of something else is made anew. Anything there may be removed at any time.

Files that an earlier version misread (another unit than mm, lost integers, a missing face) have
marks where 8 bits are kept, as then, and the digest of a dataset with any covers them: what was
measured on wrong voxels is other data.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.canonical import canonical_json, digest, read_json
from benchharness.datasets import formats, grids
from benchharness.datasets.base import SPLITS
from benchharness.datasets.listing import refuse_equal_files, refuse_equal_volumes
from benchharness.datasets.parallel import each
from benchharness.datasets.reading import readable
from benchharness.disk import caches, file_sha256, locked, sealed, write_atomically
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from benchharness.canonical import Value
    from benchharness.datasets.base import Levels, Spacing, SplitName
    from benchharness.datasets.grids import Fit, Grids
    from benchharness.datasets.items import Item, Listing
    from benchharness.datasets.preparation import Preparation
    from benchharness.datasets.reading import Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How the volumes of a listing are made."""

    options: Callable[[Spacing], dict[str, Value]]
    """What the digest covers beside the files, for the spacing of the grid."""
    fit: Callable[[Listing], Fit]
    """Finds the spacing of the grid."""
    volumes: Callable[[Listing, Spacing], Iterator[Made]]
    """Makes the volumes in the order of the listing."""
    stated: Spacing | None
    """The spacing that a person stated; None where it is found."""
    shape: tuple[int, int, int, int]
    """Of a volume, (C, D, H, W)."""
    bits: int
    """Of a voxel, 8 or 16."""
    shared: bool = False
    """Whether several volumes of a patient come from one file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The volumes of a listing on their grid."""

    digest: str
    """64 hexadecimal digits."""
    spacing: Spacing | None
    """None where the files state no spacing in millimetres."""
    driver: str | None
    """The training volume that decided a fitted spacing; None for a stated one."""
    volumes: dict[SplitName, Levels]
    """By split, (N, C, D, H, W) in the order of the listing."""


def making(preparation: Preparation) -> Making:
    """How a person's own volumes are made: one from the files of each item."""
    channels = preparation.channels
    count = len(channels) if isinstance(channels, tuple) else channels or 1
    return Making(
        options=preparation.resolved,
        fit=lambda found: grids.find_spacing(found, preparation),
        volumes=lambda found, spacing: grids.volumes(found, preparation, spacing),
        stated=preparation.spacing,
        shape=(count, *preparation.size),
        bits=preparation.bits,
    )


def load(found: Listing, how: Making) -> Prepared:
    """Take prepared volumes from the cache, or prepare them and keep them there.

    Raises:
        BenchError: When a volume cannot be read or used, some files know their spacing and some do
            not, a file is in two splits, or the cache cannot be written.
    """
    index = caches.cache_folder("prepared") / f"{_stamp(found, how)}.json"
    if (known := _recalled(index, found)) is not None:
        return known
    with _alone(index):
        known = _recalled(index, found)
        return _prepare(found, how, index) if known is None else known


def _stamp(found: Listing, how: Making) -> str:
    """What would differ if a source had been touched; the change time cannot be set by hand."""

    def stat(item: Item) -> list[object]:
        states = []
        for path in item.paths:
            for file in _files(path):
                state = _state(file)
                place = os.path.realpath(file)
                states += [place, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        return [*states, *_meaning(item)]

    options = how.options(how.stated or (0.0, 0.0, 0.0))
    return digest([options, [stat(item) for item in found.items]])


def _files(path: Path) -> tuple[Path, ...]:
    _state(path)
    with readable(path):
        return formats.files(path)


def _state(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise BenchError(
            f"cannot read volume {path}: {error.strerror or error}. Correct its path, or take it "
            "out of the dataset."
        ) from error


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
    arrays = sealed.unsealed(path, _key(path, found))
    if arrays is None:
        return None
    return grids.Grids(
        volumes={split: arrays[split] for split in SPLITS},
        marks=tuple(
            (split, name, tuple(why)) for split, name, why in read_json(arrays["marks"].item())
        ),
    )


def _keep(path: Path, found: Listing, how: Making, spacing: Spacing) -> None:
    """Make every volume and write it at once; an archive of an unfit listing is not kept."""
    contents: list[tuple[str, ...]] = []
    marks: list[tuple[SplitName, str, tuple[str, ...]]] = []
    kind = np.dtype(np.uint8 if how.bits == 8 else np.uint16)
    made = how.volumes(found, spacing)

    def taken(split: SplitName) -> Iterator[Levels]:
        items = found.of(split)
        for item, one in zip(items, islice(made, len(items)), strict=True):
            contents.append(one.content)
            if one.marks:
                marks.append((split, item.name, one.marks))
            yield one.volume

    # TorchIO draws from torch's global generator whether to apply a transform.
    with randomness.isolated("preparation"), sealed.sealing(path, _key(path, found)) as archive:
        for split in SPLITS:
            archive.stack(split, taken(split), (len(found.of(split)), *how.shape), kind)
        refuse_equal_volumes(found, contents)
        archive.add("marks", np.asarray(canonical_json(marks).encode()))


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


def _prepare(found: Listing, how: Making, index: Path) -> Prepared:
    fit = how.fit(found)
    name = _digest(found, how, fit.spacing)
    path = index.with_name(f"{name}.npz")
    made = _stored(path, found)
    if made is None:
        _keep(path, found, how, fit.spacing)
        made = _stored(path, found)
        if made is None:
            raise BenchError(
                f"cannot keep prepared volumes in {index.parent}: {path.name} does not hold what "
                "was written. Name another folder in BENCH_CACHE_ROOT."
            )
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


def _digest(found: Listing, how: Making, spacing: Spacing) -> str:
    """Digest of the data, wherever the files are; equal files in two splits are refused."""
    hashes = each(found.items, _hashes, "reading files")
    if not how.shared:
        refuse_equal_files(found, hashes)
    files = [
        [*_meaning(item), one[0] if len(one) == 1 else digest(one)]
        for item, one in zip(found.items, hashes, strict=True)
    ]
    return digest([how.options(spacing), files])


def _hashes(item: Item) -> list[str]:
    """Digest of the bytes of every channel; names within a folder of slices do not matter."""
    found = []
    for path in item.paths:
        hashes = sorted(file_sha256(file, what="volume") for file in _files(path))
        found.append(hashes[0] if len(hashes) == 1 else digest(hashes))
    return found
