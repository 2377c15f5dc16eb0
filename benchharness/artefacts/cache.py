"""The cache of corrupted test sets: made once, shared by all models, runs and workers.

A set is named after the digest of everything that determines its bits: the data, the ids, the
artefact with its version, parameters, level and seed, and the versions of the libraries that
compute it. It is one file, `<digest>.npz`, with the volumes as uint16 and a seal over every array
(see `caches`): a set that is damaged or of another key is made anew. A kill leaves a whole set or
none. A lock per set lets one worker make it while others wait. When the folder exceeds its limit,
the least recently used sets are removed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from benchharness.canonical import digest
from benchharness.disk import caches, locked, sealed, write_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

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
        return cls(root=caches.cache_folder("corrupted"), limit=caches.limit())

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
        with ExitStack() as held:
            try:
                (self.root / _LOCKS).mkdir(parents=True, exist_ok=True)
                held.enter_context(self._lock(name))
            except OSError as error:
                _log.warning("corrupted volumes are not kept: %s: %s", self.root, error.strerror)
                return make()
            found = _read(path, key)
            if found is None:
                found = make()
                self._keep(path, key, found)
            return found

    def _lock(self, name: str, timeout: float = -1) -> AbstractContextManager[None]:
        return locked(self.root / _LOCKS / name, timeout=timeout)

    def _keep(self, path: Path, key: dict[str, Any], made: CorruptedSet) -> None:
        """Write a set if it fits; call under its lock."""
        arrays = sealed.seal(
            key, {"volumes": made.volumes, "clipped": made.clipped, "changed": made.changed}
        )
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
    arrays = sealed.unsealed(path, key)
    if arrays is None:
        return None
    with suppress(OSError):  # a folder that may only be read serves all the same
        os.utime(path)
    return CorruptedSet(
        volumes=arrays["volumes"], clipped=arrays["clipped"], changed=arrays["changed"]
    )
