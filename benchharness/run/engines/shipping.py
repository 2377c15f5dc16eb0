"""Data and weights as values, for workers that share no files with the driver.

A parcel holds any value whose arrays arrive as they were: with their bits, their shape and their
strides, and writable where they were. The last bits of logits depend on the memory layout of a
split's array, which an ordinary pickle changes. The digest of a parcel travels apart from it, and
nothing in a parcel is opened before its bytes agree with that digest.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.disk import locked
from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_SHARED_FROM = 1 << 20
"""Bytes from which an array stays where it arrived, for all workers of a node together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """A value on its way."""

    content: bytes
    """The pickled value without its arrays."""
    buffers: tuple[NDArray[np.uint8], ...]
    """The memory of each array, of shape (bytes,)."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it, 64 hexadecimal digits."""
        found = hashlib.sha256(repr([len(self.content), *map(len, self.buffers)]).encode())
        found.update(self.content)
        for buffer in self.buffers:
            found.update(buffer.data)
        return found.hexdigest()


def packed(value: object) -> Parcel:
    """Pack a value; the memory of its arrays is not copied, nor read where it is mapped."""
    stream = io.BytesIO()
    packer = _Packer(stream)
    packer.dump(value)
    return Parcel(content=stream.getvalue(), buffers=tuple(packer.buffers))


def unpacked(parcel: Parcel, digest: str) -> Any:
    """The value of a parcel.

    Large arrays stay in the parcel's memory and cannot be written, but for those that could be and
    whose strides are not the usual ones: networks see another layout of what cannot be written.

    Args:
        parcel: As it arrived.
        digest: What the sender says of it.

    Raises:
        CellError: When it is not what was sent.
    """
    if (found := parcel.digest) != digest:
        raise CellError(
            f"what arrived has SHA-256 {found[:12]}… and what was sent {digest[:12]}…: it was "
            "damaged or exchanged on its way"
        )
    return _Unpacker(parcel).load()


class _Packer(pickle.Pickler):
    """Leaves arrays out of what is pickled, each once."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.buffers: list[NDArray[np.uint8]] = []
        self._seen: dict[int, tuple[object, ...]] = {}

    def persistent_id(self, value: object) -> tuple[object, ...] | None:
        """What is written in place of an array; None for anything else."""
        if type(value) not in (np.ndarray, np.memmap):
            return None
        assert isinstance(value, np.ndarray)
        if value.dtype.hasobject:
            return None
        if id(value) not in self._seen:
            first, memory = _memory(value)
            self._seen[id(value)] = (
                len(self.buffers),
                value.dtype,
                value.shape,
                value.strides,
                first,
                value.flags.writeable,
            )
            self.buffers.append(memory)
        return self._seen[id(value)]


def _memory(array: NDArray[Any]) -> tuple[int, NDArray[np.uint8]]:
    """The bytes that an array reaches over, without a copy, and where among them it begins."""
    if array.size == 0:
        return 0, np.empty(0, np.uint8)
    reach = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    before = -sum(step for step in reach if step < 0)
    after = sum(step for step in reach if step > 0)
    lowest = array[(..., *(slice(-1, None) if step < 0 else slice(1) for step in reach))]
    content = np.lib.stride_tricks.as_strided(
        lowest.reshape(1).view(np.uint8),
        shape=(before + after + array.itemsize,),
        strides=(1,),
        writeable=False,
    )
    return before, content


class _Unpacker(pickle.Unpickler):
    """Puts arrays back, each once."""

    def __init__(self, parcel: Parcel) -> None:
        super().__init__(io.BytesIO(parcel.content))
        self._buffers = parcel.buffers
        self._made: dict[int, NDArray[Any]] = {}

    def persistent_load(self, place: Any) -> NDArray[Any]:
        """The array in place of which this was written."""
        number, *layout = place
        if number not in self._made:
            self._made[number] = _rebuilt(self._buffers[number], *layout)
        return self._made[number]


def _rebuilt(
    memory: NDArray[np.uint8],
    kind: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    first: int,
    writable: bool,
) -> NDArray[Any]:
    if memory.size == 0:
        return np.lib.stride_tricks.as_strided(
            np.empty(0, kind), shape, strides, writeable=writable
        )
    usual = tuple(kind.itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))
    shared = memory.size >= _SHARED_FROM and strides == usual
    if writable and not shared:
        memory = memory.copy()
    array: NDArray[Any] = np.ndarray(shape, kind, memory.data, first, strides)
    array.flags.writeable = writable and not shared
    return array


def packed_files(paths: Iterable[Path]) -> Parcel:
    """Pack whole files of one folder by their names.

    Raises:
        OSError: When one cannot be read.
    """
    return packed({path.name: np.fromfile(path, np.uint8) for path in paths})


def place(fetch: Callable[[], Parcel], digest: str, root: Path) -> Path:
    """The folder with the files of a parcel, which arrives once for all workers of a node.

    Args:
        fetch: Gives the parcel; called where its files are not here yet.
        digest: What the sender says of it.
        root: The folder above it, the same for all workers.

    Raises:
        CellError: When the parcel is not what was sent.
        OSError: When the files cannot be written.
    """
    folder, partial = root / digest, root / f"{digest}.partial"
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f"{digest}.lock"):
        if not folder.is_dir():
            files = unpacked(fetch(), digest)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for name, content in files.items():
                (partial / name).write_bytes(content.data)
            partial.rename(folder)
    return folder
