"""Corrupted test sets, made once and shared by all models, runs and workers.

A set is named by the digest of everything that its bits follow from: the data, the ids, the
artefact with its version, parameters, level and seed, and the versions of the libraries that
compute. It is one file, `<digest>.npz`, with the volumes as uint16. It is written under another
name and renamed, so that a kill leaves a whole set or none; a lock per set lets one worker make it
while others wait. When the folder grows over its limit, the sets that were used least recently go.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from benchharness.canonical import canonical_json, digest
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROOT = "BENCH_CACHE_ROOT"
"""Environment variable: where the sets are kept."""

LIMIT = "BENCH_CACHE_GIB"
"""Environment variable: how many GiB they may fill; 0 keeps none."""

DEFAULT_GIB = 10.0

_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorruptedSet:
    """The volumes of a split after an artefact."""

    volumes: NDArray[np.uint16]
    """Shape (N, C, D, H, W); intensities times 65535."""
    clipped: NDArray[np.float64]
    """Shape (N,): fraction of voxels that were clipped."""
    changed: NDArray[np.bool_]
    """Shape (N,): whether any voxel differs from the clean volume."""

    @property
    def sha256(self) -> str:
        """Digest of the voxels; what golden files hold."""
        content = np.ascontiguousarray(self.volumes).astype("<u2", copy=False)
        return hashlib.sha256(content.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder of corrupted sets."""

    root: Path
    limit: int
    """Bytes that all sets together may fill; 0 keeps none."""
    _locks: str = field(default="locks", init=False)

    @classmethod
    def of_environment(cls) -> Cache:
        """The folder and the limit that the environment asks for, or the user's cache folder.

        Raises:
            BenchError: When the limit is not a number from 0 up.
        """
        import pooch

        asked = os.environ.get(ROOT)
        root = Path(asked).expanduser() if asked else Path(pooch.os_cache("benchharness"))
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
        return cls(root=root / "corrupted", limit=int(gib * 2**30))

    def get(self, key: dict[str, Any], make: Callable[[], CorruptedSet]) -> CorruptedSet:
        """Return the set of a key; make and keep it where there is none.

        A folder that cannot be used costs time, not the result: the set is made and a warning says
        so.

        Args:
            key: JSON values that everything follows from which decides the set's bits.
            make: Called when the set is not there.
        """
        if self.limit == 0:
            return make()
        name = digest(key)
        path = self.root / f"{name}.npz"
        try:
            (self.root / self._locks).mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / self._locks / name)
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

    def _keep(self, path: Path, key: dict[str, Any], made: CorruptedSet) -> None:
        """Write a set whole or not at all; call under its lock."""
        # Under the lock nobody else writes this name: a killed writer's rest is overwritten.
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as stream:
                np.savez(
                    stream,
                    key=np.asarray(canonical_json(key)),
                    sha256=np.asarray(made.sha256),
                    volumes=made.volumes,
                    clipped=made.clipped,
                    changed=made.changed,
                )
                stream.flush()
                os.fsync(stream.fileno())
            if partial.stat().st_size > self.limit:
                return
            partial.replace(path)
            self._evict(keep=path)
        except OSError as error:
            _log.warning("corrupted volumes are not kept: %s: %s", path, error.strerror)
        finally:
            partial.unlink(missing_ok=True)

    def _evict(self, keep: Path) -> None:
        """Remove what was used least recently until the rest fits, and what kills left behind."""
        try:
            with FileLock(self.root / self._locks / "evict", timeout=0):
                self._sweep()
                aged = sorted(self._sizes(), reverse=True)
                total = 0
                for _, size, path in aged:
                    total += size
                    if total > self.limit and path != keep:
                        path.unlink(missing_ok=True)
                        total -= size
        except Timeout:
            return  # Another worker is at it.

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

    def _sweep(self) -> None:
        """Remove half-written sets whose writer is gone: nobody holds their lock."""
        for partial in self.root.glob("*.partial"):
            try:
                with FileLock(self.root / self._locks / partial.stem, timeout=0):
                    partial.unlink(missing_ok=True)
            except Timeout:
                continue


def _read(path: Path, key: dict[str, Any]) -> CorruptedSet | None:
    """Read a set and mark it as used; None when it is absent, damaged or another's."""
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        found = CorruptedSet(
            volumes=arrays["volumes"], clipped=arrays["clipped"], changed=arrays["changed"]
        )
        whole = str(arrays["sha256"]) == found.sha256
        if not whole or json.loads(str(arrays["key"])) != json.loads(canonical_json(key)):
            return None
        os.utime(path)
    except FileNotFoundError:
        return None
    except _DAMAGE:
        return None
    return found
