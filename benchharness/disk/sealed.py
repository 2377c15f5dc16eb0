"""Archives of arrays with a seal: the key that they were made for and the SHA-256 of each array.

What does not match its seal is not there. Arrays are written volume by volume and, where they are
large, mapped instead of read, so a set may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from benchharness.canonical import canonical_json
from benchharness.disk import array_header, read_arrays, writing_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAPPED_FROM = 1 << 28
"""Bytes of an array from which it is mapped: the system reads what is used, and drops it again."""

_SEAL = "seal"
_BLOCK = 1 << 20
_LOCAL_HEADER = 30
"""Bytes of a zip member's own header, before its name and its extra field."""


def seal(key: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays with a seal beside them, for `disk.write_arrays`.

    Args:
        key: JSON values that say what the arrays are.
        arrays: By name.
    """
    hashes = {name: _sha256(array) for name, array in arrays.items()}
    return {**arrays, _SEAL: np.asarray(_sealing(key, hashes))}


def unsealed(path: Path, key: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
    """Sealed arrays, large ones mapped and read-only.

    Whatever the file holds, nothing is raised.

    Returns:
        The arrays; None unless they are whole and were sealed with this key.
    """
    try:
        if not path.is_file():
            return None
        large = path.stat().st_size >= MAPPED_FROM
        arrays, hashes = _mapped(path) if large else _read(path)
        found = arrays.pop(_SEAL).item()
        hashes.pop(_SEAL)
        whole = bool(found == _sealing(key, hashes))
    except Exception:  # damaged bytes may raise anything
        return None
    return arrays if whole else None


class Archive:
    """An uncompressed .npz that is written piece by piece and sealed at its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED)
        self._hashes: dict[str, str] = {}

    def stack(
        self, name: str, items: Iterable[NDArray[Any]], shape: tuple[int, ...], kind: np.dtype[Any]
    ) -> None:
        """Add an array of shape (N, …) from its N items, one in memory at a time.

        Raises:
            ValueError: When the items do not make this array.
        """
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False}
        hashed = _hasher(kind, shape)
        count = 0
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array_header_1_0(stream, {**header, "shape": shape})
            for item in items:
                if item.shape != shape[1:] or item.dtype != kind:
                    raise ValueError(f"{item.shape} of {item.dtype} does not belong in {shape}")
                content = np.ascontiguousarray(item).reshape(-1).view(np.uint8).data
                hashed.update(content)
                stream.write(content)
                count += 1
        if count != shape[0]:
            raise ValueError(f"{count} items do not make {shape}")
        self._hashes[name] = hashed.hexdigest()

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Add a small array."""
        self._hashes[name] = _sha256(array)
        self._write(name, array)

    def seal(self, key: Mapping[str, Any]) -> None:
        """Add the seal."""
        self._write(_SEAL, np.asarray(_sealing(key, self._hashes)))

    def close(self) -> None:
        """Add the end of the archive."""
        self._zip.close()

    def _write(self, name: str, array: NDArray[Any]) -> None:
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)


@contextmanager
def sealing(path: Path, key: Mapping[str, Any]) -> Iterator[Archive]:
    """Write a sealed archive, whole or not at all.

    Args:
        path: Of the archive.
        key: JSON values that say what the arrays are.
    """
    with writing_atomically(path) as stream:
        archive = Archive(stream)
        try:
            yield archive
            archive.seal(key)
        finally:
            archive.close()


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    arrays = read_arrays(path)
    return arrays, {name: _sha256(array) for name, array in arrays.items()}


def _mapped(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays of an archive and their hashes; no more than a block of a large one is in memory.

    Raises:
        ValueError: When the archive was not written here; damage may raise anything.
    """
    arrays: dict[str, NDArray[Any]] = {}
    hashes: dict[str, str] = {}
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            arrays[name], hashes[name] = _member(stream, archive, member)
    return arrays, hashes


def _member(
    stream: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[NDArray[Any], str]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is not stored as it was written")
    with archive.open(member) as content:
        shape, fortran, kind = array_header(content)
        length = content.tell()
        if (
            fortran
            or kind.hasobject
            or length + math.prod(shape) * kind.itemsize != (member.file_size)
        ):
            raise ValueError(f"{member.file_size} bytes do not hold {shape} of {kind}")
        hashed = _hasher(kind, shape)
        while block := content.read(_BLOCK):
            hashed.update(block)
    stream.seek(member.header_offset)
    local = stream.read(_LOCAL_HEADER)
    start = member.header_offset + _LOCAL_HEADER + length
    start += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    if member.file_size < MAPPED_FROM:
        stream.seek(start)
        held = np.frombuffer(stream.read(member.file_size - length), kind).reshape(shape)
        return held.copy(), hashed.hexdigest()
    # As a plain array: a slice of it is then no map of its own.
    mapped = np.memmap(stream, dtype=kind, mode="r", offset=start, shape=shape)
    return np.asarray(mapped), hashed.hexdigest()


def _sealing(key: Mapping[str, Any], hashes: Mapping[str, str]) -> bytes:
    return canonical_json({"key": key, "sha256": hashes}).encode()


def _hasher(kind: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    return hashlib.sha256(repr((kind.str, shape)).encode())


def _sha256(array: NDArray[Any]) -> str:
    """Digest of an array's type, shape and values."""
    found = _hasher(array.dtype, array.shape)
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    digest: str = found.hexdigest()
    return digest
