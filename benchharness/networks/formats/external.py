"""An ONNX file and the files beside it that hold its weights, read whole and hashed together.

PyTorch writes the weights of an ONNX file into a second one by default. The names of such files
are in the first, in fields of `onnx.proto`; they are found here without the `onnx` package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.canonical import digest as digest_of
from benchharness.canonical import sha256
from benchharness.errors import BenchError
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FIELDS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "tensor": {13: "place"},
    "place": {1: "key", 2: "value"},
}
"""Message → number of a field → message in it, on the ways from a model to a tensor's place."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whole:
    """Everything that an ONNX network is made of."""

    model: bytes
    beside: Mapping[str, bytes]
    """Files with weights, by the name that the model gives them."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or of both digests where there are weights beside it."""
        if not self.beside:
            return sha256(self.model)
        return digest_of([sha256(self.model), {k: sha256(v) for k, v in self.beside.items()}])


def read(path: Path) -> Whole:
    """Read an ONNX file and what it names.

    Raises:
        BenchError: If one cannot be read, or it names a file outside its own folder.
    """
    model = _bytes(path)
    try:
        names = sorted(set(_places(memoryview(model), "model")))
    except (ValueError, IndexError) as error:
        raise BenchError(f"cannot read ONNX file {path}: it is damaged or of another kind.") from (
            error
        )
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise BenchError(
                f"ONNX file {path} takes weights from {one_line(name)!r}, outside its folder. Save "
                "it with its weights inside: torch.onnx.export(…, external_data=False)."
            )
    return Whole(model=model, beside={name: _bytes(path.with_name(name)) for name in names})


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise BenchError(f"no ONNX file at {path}. Check the path, and that all parts lie there.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read ONNX file {path}: {error.strerror}.") from error


def _places(content: memoryview, message: str, depth: int = 0) -> Iterator[str]:
    """Names of files that tensors lie in."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if message == "place":
        texts = {number: bytes(value).decode() for number, value in _fields(content)}
        if texts.get(1) == "location":
            yield texts.get(2, "")
        return
    for number, value in _fields(content):
        inner = _FIELDS[message].get(number)
        if inner is not None:
            yield from _places(value, inner, depth + 1)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Fields of a message that are messages or texts; numbers are passed over."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            size, at = _varint(content, at)
            if at + size > len(content):
                raise ValueError("cut off")
            yield key >> 3, content[at : at + size]
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("no field of protobuf")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
