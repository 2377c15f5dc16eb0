"""A person's own volumes as a dataset: prepared once, kept in a cache, quick from then on.

The digest covers the bytes of every file, its split, label and patient, and the resolved options,
so that it names what is evaluated wherever the files lie. The cache holds two kinds of file: an
archive of uint8 volumes named by that digest, and a small index named by what the file system says
of the sources (path, size, times), which saves reading them again. Both appear by renaming; one
process prepares while others wait. Everything there may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pooch
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from benchharness import randomness
from benchharness.canonical import canonical_json, digest, pairs
from benchharness.datasets import listing, reading
from benchharness.datasets.archive import SPLITS
from benchharness.datasets.base import Dataset, Split
from benchharness.datasets.preparation import VERSION
from benchharness.disk import write_atomically, writing_atomically
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from numpy.typing import NDArray

    from benchharness.canonical import Pairs
    from benchharness.datasets.base import SplitName
    from benchharness.datasets.listing import Item, Listing
    from benchharness.datasets.preparation import Preparation, Triple

    T = TypeVar("T")

_WORKERS = 8
"""More would not fit: a CT volume of 512 × 512 × 400 takes about 2 GB while it is prepared."""

_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """What the cache gives back."""

    digest: str
    spacing: Triple | None
    volumes: dict[SplitName, NDArray[np.uint8]]
    """By split, (N, 1, D, H, W) in the order of the listing."""


def cache_root() -> Path:
    """Where prepared volumes are kept: `BENCH_CACHE_ROOT`, else the system's place for caches."""
    root = os.environ.get("BENCH_CACHE_ROOT") or pooch.os_cache("benchharness")
    return Path(root).expanduser() / "prepared"


def load(source: Path, preparation: Preparation) -> Dataset:
    """Load a folder `train|val|test/<class>/*` or a CSV of volumes.

    Args:
        source: The folder or the CSV; paths in a CSV are relative to it.
        preparation: Size, spacing and window.

    Raises:
        BenchError: For whatever `listing.read` refuses, a volume that cannot be read, files of
            which some know their spacing and some do not, equal files in two splits, or a cache
            that cannot be written.
    """
    found = listing.read(source)
    made = _prepared(found, preparation)

    def split(name: SplitName) -> Split:
        items = found.of(name)
        patients = [item.patient for item in items if item.patient is not None]
        return Split(
            ids=tuple(_identifier(found.name, item) for item in items),
            volumes=made.volumes[name],
            labels=np.asarray([item.label for item in items], dtype=np.int64),
            patients=tuple(patients) or None,
            spacing=made.spacing,
        )

    return Dataset(
        name=found.name,
        classes=found.classes,
        modality=preparation.modality or ("ct" if preparation.window.kind == "ct" else "unknown"),
        digest=f"sha256:{made.digest}",
        default_recipe="quick",
        preparation=_description(made, preparation),
        train=split("train"),
        val=split("val"),
        test=split("test"),
    )


def _description(made: _Prepared, preparation: Preparation) -> Pairs:
    return pairs(
        {
            "size": preparation.size,
            "spacing": made.spacing,
            "window": str(preparation.window),
            "version": VERSION,
        }
    )


def _identifier(name: str, item: Item) -> str:
    parts = (name, item.split, item.patient, item.name)
    return "/".join(part for part in parts if part is not None)


def _prepared(found: Listing, preparation: Preparation) -> _Prepared:
    index = cache_root() / f"{_stamp(found, preparation)}.json"
    if (known := _recalled(index, found)) is not None:
        return known
    with _alone(index):
        known = _recalled(index, found)
        return _prepare(found, preparation, index) if known is None else known


def _stamp(found: Listing, preparation: Preparation) -> str:
    """What would differ if a source had been touched; the change time cannot be set by hand."""

    def stat(item: Item) -> list[object]:
        with _present(item.path):
            state = item.path.stat()
        place = os.path.realpath(item.path)
        return [place, state.st_size, state.st_mtime_ns, state.st_ctime_ns, *_meaning(item)]

    options = preparation.resolved(preparation.spacing or (0.0, 0.0, 0.0))
    return digest([options, [stat(item) for item in found.items]])


def _meaning(item: Item) -> list[object]:
    return [item.split, item.name, item.label, item.patient]


def _recalled(index: Path, found: Listing) -> _Prepared | None:
    """What the cache holds; None when it holds nothing or something damaged."""
    try:
        entry = json.loads(index.read_text())
        name, spacing = str(entry["digest"]), entry["spacing"]
    except _DAMAGE:
        return None
    volumes = _stored(index.with_name(f"{name}.npz"), found)
    if volumes is None:
        return None
    return _Prepared(
        digest=name, spacing=None if spacing is None else tuple(spacing), volumes=volumes
    )


def _stored(path: Path, found: Listing) -> dict[SplitName, NDArray[np.uint8]] | None:
    try:
        # Opened here: of a damaged archive, `np.load` would leave its own stream open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            volumes = {split: archive[split] for split in SPLITS}
    except _DAMAGE:
        return None
    fitting = all(
        volumes[split].dtype == np.uint8 and len(volumes[split]) == len(found.of(split))
        for split in SPLITS
    )
    return volumes if fitting else None


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(index.with_suffix(".lock")):
            yield
    except OSError as error:
        raise BenchError(
            f"cannot keep prepared volumes in {index.parent}: {error.strerror or error}. Name a "
            "folder that can be written in BENCH_CACHE_ROOT."
        ) from error


def _prepare(found: Listing, preparation: Preparation, index: Path) -> _Prepared:
    headers = _each(found.items, lambda item: reading.header(item.path), "reading headers")
    physical = _physical(found, headers, preparation)
    spacing = preparation.spacing or _fitting(found, headers, preparation.size)
    hashes = _each(found.items, _sha256, "reading files")
    _refuse_leaks(found, hashes)
    options = preparation.resolved(spacing)
    files = [[*_meaning(item), sha] for item, sha in zip(found.items, hashes, strict=True)]
    name = digest([options, files])
    path = index.with_name(f"{name}.npz")
    volumes = _stored(path, found)
    if volumes is None:
        volumes = _volumes(found, preparation, spacing)
        _save(path, volumes)
    known = {"digest": name, "spacing": spacing if physical else None}
    write_atomically(index, canonical_json(known).encode())
    return _Prepared(digest=name, spacing=spacing if physical else None, volumes=volumes)


def _physical(found: Listing, headers: list[reading.Header], preparation: Preparation) -> bool:
    """Whether the files know their spacing; all must, or none."""
    without = [
        item for item, header in zip(found.items, headers, strict=True) if header.affine is None
    ]
    if without and preparation.spacing is not None:
        raise BenchError(
            f"{without[0].path} has no spacing, so that --spacing means nothing to it. Leave "
            "--spacing out, or save the volume as NIfTI."
        )
    if without and len(without) < len(headers):
        raise BenchError(
            f"{found.source} mixes .npy, which have no spacing ({without[0].name}), with files "
            "that have. Save all as NIfTI or all as .npy."
        )
    return not without


def _fitting(found: Listing, headers: list[reading.Header], size: tuple[int, int, int]) -> Triple:
    """The finest isotropic spacing at which no training volume is cut, in whole micrometres."""
    needed = max(
        extent / side
        for item, header in zip(found.items, headers, strict=True)
        if item.split == "train"
        for extent, side in zip(header.extent, size, strict=True)
    )
    step = math.ceil(needed * 1000 - 1e-3) / 1000
    return step, step, step


def _sha256(item: Item) -> str:
    with _present(item.path), item.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_leaks(found: Listing, hashes: list[str]) -> None:
    seen: dict[str, Item] = {}
    for item, sha in zip(found.items, hashes, strict=True):
        other = seen.setdefault(sha, item)
        if other.split != item.split:
            raise BenchError(
                f"{found.source}: {other.split} {other.name} and {item.split} {item.name} are the "
                "same file under two names. Keep it in one split, or the test is no test."
            )


def _volumes(
    found: Listing, preparation: Preparation, spacing: Triple
) -> dict[SplitName, NDArray[np.uint8]]:
    def made(item: Item) -> NDArray[np.uint8]:
        return reading.grid(
            item.path, size=preparation.size, spacing=spacing, window=preparation.window
        )

    # TorchIO asks torch's global generator whether to apply a transform.
    with randomness.isolated("preparation"):
        grids = _each(found.items, made, "preparing volumes")
    by_split = {
        split: [grid for item, grid in zip(found.items, grids, strict=True) if item.split == split]
        for split in SPLITS
    }
    return {split: np.stack(members)[:, None] for split, members in by_split.items()}


def _each(items: tuple[Item, ...], work: Callable[[Item], T], what: str) -> list[T]:
    """Apply `work` to every item in threads, in order, with a bar where somebody watches."""
    console = Console(stderr=True)
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as threads:
        try:
            return list(
                track(
                    threads.map(work, items),
                    description=what,
                    total=len(items),
                    console=console,
                    transient=True,
                    disable=not console.is_terminal,
                )
            )
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _save(path: Path, volumes: dict[SplitName, NDArray[np.uint8]]) -> None:
    with writing_atomically(path) as stream:
        np.savez(stream, **volumes)  # type: ignore[arg-type]


@contextmanager
def _present(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"cannot read volume {path}: {error.strerror or error}. Mend its path, or take it out "
            "of the dataset."
        ) from error
