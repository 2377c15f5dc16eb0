"""Files from the network: fetched whole and with the expected digest, or not at all."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pooch

from benchharness.disk import locked, replacing
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OFFLINE: ContextVar[bool] = ContextVar("offline", default=False)


@contextmanager
def offline() -> Iterator[None]:
    """Inside, `download` refuses: for what must not fetch anything that nobody asked for."""
    before = _OFFLINE.set(True)
    try:
        yield
    finally:
        _OFFLINE.reset(before)


def download(url: str, path: Path, *, known: str, remedy: str) -> None:
    """Fetch a file with a progress bar; an incomplete one never gets the final name.

    Processes that want the same file fetch it once. What a killed one left is removed.

    Args:
        url: Where it is.
        path: Where it goes.
        known: Its digest after the algorithm: `md5:…` or `sha256:…`.
        remedy: What to do by hand where it cannot be fetched, as the end of a message.

    Raises:
        BenchError: When the address cannot be reached, the file is another one, or the folder
            cannot be written; inside `offline`, always.
    """
    if _OFFLINE.get():
        raise BenchError(f"{path} is not there")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock(path.parent, path.name)):
            if not path.exists():
                clear(path.parent, path.suffix, held=path.name)
                with replacing(path) as partial:
                    _fetch(url, known, partial)
            _lock(path.parent, path.name).unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        response = getattr(error, "response", None)
        if response is not None:  # pooch leaves the connection of a refused request open
            response.close()
        reason = " ".join(str(error).split())
        raise BenchError(f"cannot download {url} ({reason}). {remedy}") from error


def _fetch(url: str, known: str, path: Path) -> None:
    pooch.HTTPDownloader(progressbar=True, timeout=60)(url, str(path), None)
    algorithm, _, expected = known.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != expected:
        raise ValueError(f"the hash of what came is {found}, expected {expected}")


def _lock(folder: Path, name: str) -> Path:
    return folder / f".{name}.lock"


def clear(folder: Path, suffix: str, held: str | None = None) -> None:
    """Remove what killed downloads left behind; those of living processes hold their lock.

    Args:
        folder: Of the files.
        suffix: Of their names: `.npz`.
        held: The file whose lock the caller holds.
    """
    for partial in folder.glob(f".*{suffix}.*.partial"):
        name = f"{partial.name[1:].rpartition(f'{suffix}.')[0]}{suffix}"
        lock = nullcontext() if name == held else locked(_lock(folder, name), timeout=0)
        with suppress(OSError), lock:  # held by another (a Timeout is one), or not ours to remove
            partial.unlink(missing_ok=True)
            if name != held:
                _lock(folder, name).unlink(missing_ok=True)
