"""The caches: where they are and how much they hold.

Whatever a cache holds can be made anew, and whatever lies in its files may be damaged, exchanged or
written by somebody else. So every archive carries a seal (see `disk.sealed`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import Timeout

from benchharness.disk import locked, user_path
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KINDS = ("corrupted", "prepared")
"""Test sets after an artefact, and the volumes of own files on their grid."""

LIMIT = "BENCH_CACHE_GIB"
"""Environment variable: how many GiB the corrupted sets may fill; 0 keeps none."""

DEFAULT_GIB = 10.0

_NAME = "[0-9a-f]{64}"
_DATA = re.compile(rf"{_NAME}\.(npz|json)")
_LOCK = re.compile(rf"{_NAME}\.lock|locks/({_NAME}|evict)")
_PARTIAL = re.compile(rf"\.{_NAME}\.(npz|json)\.[0-9]+\.partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one cache holds."""

    kind: str
    """One of `KINDS`."""
    folder: Path
    files: int
    """Files of data; locks do not count."""
    size: int
    """Bytes of them together."""


def cache_folder(kind: str) -> Path:
    """Where files that can be recreated are kept: `BENCH_CACHE_ROOT`, else the user's cache.

    Args:
        kind: Name of the folder below it, one of `KINDS`.
    """
    import pooch

    root = os.environ.get("BENCH_CACHE_ROOT") or pooch.os_cache("benchharness")
    return user_path(root, what="BENCH_CACHE_ROOT") / kind


def limit() -> int:
    """Bytes that the corrupted sets may fill, as `BENCH_CACHE_GIB` says; 0 keeps none.

    Raises:
        BenchError: When the variable is not a number from 0 up.
    """
    text = os.environ.get(LIMIT) or str(DEFAULT_GIB)
    try:
        gib = float(text)
    except ValueError:
        gib = float("nan")
    if not 0 <= gib < float("inf"):
        raise BenchError(
            f"{LIMIT} takes a number of GiB from 0 up, got {text!r}. Type {LIMIT}=10, or 0 to "
            "keep no corrupted volumes."
        )
    return int(gib * 2**30)


def usage(kinds: Iterable[str] = KINDS) -> tuple[Usage, ...]:
    """What each cache holds; a folder that is absent or cannot be read holds nothing."""
    return tuple(_counted(kind, _sizes(cache_folder(kind))) for kind in kinds)


def clear(kinds: Iterable[str] = KINDS) -> tuple[Usage, ...]:
    """Remove what the caches hold, and return how much of each was removed.

    Only names that the caches use are removed. Files that another process is writing stay.
    """
    return tuple(_counted(kind, _cleared(cache_folder(kind))) for kind in kinds)


def _counted(kind: str, sizes: list[int]) -> Usage:
    return Usage(kind=kind, folder=cache_folder(kind), files=len(sizes), size=sum(sizes))


def _matching(folder: Path, *patterns: re.Pattern[str]) -> Iterator[Path]:
    """Plain files of a cache whose name below the folder is one of its own.

    Links are left alone: what they point to is not ours.
    """
    for parent in (folder, folder / "locks"):
        if parent.is_symlink():
            continue
        try:
            entries = sorted(parent.iterdir())
        except OSError:
            continue
        for path in entries:
            name = path.relative_to(folder).as_posix()
            ours = any(pattern.fullmatch(name) for pattern in patterns)
            if ours and path.is_file() and not path.is_symlink():
                yield path


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for path in _matching(folder, _DATA, _PARTIAL):
        try:
            sizes.append(path.lstat().st_size)
        except FileNotFoundError:  # another process removed it
            continue
    return sizes


def _cleared(folder: Path) -> list[int]:
    writing = [path for path in _matching(folder, _LOCK) if not _unlock(path)]
    sizes = []
    for path in _matching(folder, _DATA, *(() if writing else (_PARTIAL,))):
        try:
            size = path.lstat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BenchError(
                f"cannot remove {path}: {error.strerror}. Remove {folder} by hand."
            ) from error
        sizes.append(size)
    return sizes


def _unlock(path: Path) -> bool:
    """Remove a lock file unless somebody holds it; whether nobody did."""
    try:
        with locked(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return False
    except OSError:
        return True
    return True
