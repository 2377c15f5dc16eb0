"""The cache of corrupted test sets: made once, shared by all models, runs and workers.

A set is named after the digest of everything that determines its bits: the data, the ids, the
artefact with its version, parameters, level and seed, and the versions of the libraries that
compute it. It is one file, `<digest>.npz`, with the volumes as uint16. A kill leaves a whole set or
none. A lock per set lets one worker make it while others wait. When the folder exceeds its limit,
the least recently used sets are removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from benchharness.canonical import canonical_json, digest
from benchharness.disk import DAMAGE, cache_folder, read_arrays, write_arrays
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

LIMIT = "BENCH_CACHE_GIB"
"""Environment variable: how many GiB the sets may fill; 0 keeps none."""

DEFAULT_GIB = 10.0

_LOCKS = "locks"
_HEADERS = 512
"""Bytes that an .npz takes for an array besides its values, at most."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorruptedSet:
    """The volumes of a split after an artefact."""

    volumes: NDArray[np.uint16]
    """Shape (N, C, D, H, W); intensities times 65535."""
    clipped: NDArray[np.float64]
    """Shape (N,): fraction of clipped voxels."""
    changed: NDArray[np.bool_]
    """Shape (N,): whether any voxel differs from the clean volume."""

    @property
    def sha256(self) -> str:
        """Digest of the voxels, as in golden files."""
        content = np.ascontiguousarray(self.volumes).astype("<u2", copy=False)
        return hashlib.sha256(content.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder of corrupted sets."""

    root: Path
    limit: int
    """Bytes that all sets together may fill; 0 keeps none."""

    @classmethod
    def of_environment(cls) -> Cache:
        """The cache at the place and with the limit that the environment sets.

        Raises:
            BenchError: When the limit is not a number from 0 up.
        """
        text = os.environ.get(LIMIT, str(DEFAULT_GIB))
        try:
            gib = float(text)
        except ValueError:
            gib = float("nan")
        if not 0 <= gib < float("inf"):
            raise BenchError(
                f"{LIMIT} takes a number of GiB from 0 up, got {text!r}. Type {LIMIT}=10, or 0 to "
                "keep no corrupted volumes."
            )
        return cls(root=cache_folder("corrupted"), limit=int(gib * 2**30))

    def get(self, key: dict[str, Any], make: Callable[[], CorruptedSet]) -> CorruptedSet:
        """Return the set of a key; make and keep it if there is none.

        Where the folder cannot be used, the set is made all the same, with a warning.

        Args:
            key: JSON values that determine the set's bits.
            make: Called when the set is not there.
        """
        if self.limit == 0:
            return make()
        name = digest(key)
        path = self.root / f"{name}.npz"
        try:
            (self.root / _LOCKS).mkdir(parents=True, exist_ok=True)
            lock = self._lock(name)
            lock.acquire()
        except OSError as error:
            _log.warning("corrupted volumes are not kept: %s: %s", self.root, error.strerror)
            return make()
        try:
            found = _read(path, key)
            if found is None:
                found = make()
                self._keep(path, key, found)
            return found
        finally:
            lock.release()

    def _lock(self, name: str, timeout: float = -1) -> FileLock:
        return FileLock(self.root / _LOCKS / name, timeout=timeout)

    def _keep(self, path: Path, key: dict[str, Any], made: CorruptedSet) -> None:
        """Write a set if it fits; call under its lock."""
        arrays: dict[str, NDArray[Any]] = {
            "key": np.asarray(canonical_json(key)),
            "sha256": np.asarray(made.sha256),
            "volumes": made.volumes,
            "clipped": made.clipped,
            "changed": made.changed,
        }
        if sum(array.nbytes + _HEADERS for array in arrays.values()) > self.limit:
            return
        try:
            write_arrays(path, **arrays)
            self._evict(keep=path)
        except OSError as error:
            _log.warning("corrupted volumes are not kept: %s: %s", path, error.strerror)

    def _evict(self, keep: Path) -> None:
        """Remove the least recently used sets until the rest fits, and what kills left behind."""
        try:
            with self._lock("evict", timeout=0):
                self._sweep(held=keep.stem)
                aged = sorted(self._sizes(), reverse=True)
                total = 0
                for _, size, path in aged:
                    total += size
                    if total > self.limit and path != keep:
                        path.unlink(missing_ok=True)
                        total -= size
        except Timeout:
            return  # Another worker does it.

    def _sizes(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of every set."""
        found = []
        for path in self.root.glob("*.npz"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _sweep(self, held: str) -> None:
        """Remove half-written sets whose writer is gone: nobody else holds their lock.

        Args:
            held: Name of the set whose lock the caller holds.
        """
        for partial in self.root.glob("*.partial"):
            name = partial.name.lstrip(".").partition(".")[0]
            try:
                with nullcontext() if name == held else self._lock(name, timeout=0):
                    partial.unlink(missing_ok=True)
            except Timeout:
                continue


def _read(path: Path, key: dict[str, Any]) -> CorruptedSet | None:
    """Read a set and mark it as used; None when it is absent, damaged or of another key."""
    try:
        arrays = read_arrays(path)
        found = CorruptedSet(
            volumes=arrays["volumes"], clipped=arrays["clipped"], changed=arrays["changed"]
        )
        whole = str(arrays["sha256"]) == found.sha256
        if not whole or json.loads(str(arrays["key"])) != json.loads(canonical_json(key)):
            return None
        os.utime(path)
    except DAMAGE:
        return None
    return found
