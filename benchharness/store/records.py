"""Records, what is known of a cell after it ran, and the store that keeps them.

A store is a folder: `records.jsonl` (one record a line, append only) and `predictions/` (one .npz a
cell). Predictions are written and renamed before the line that names them is appended, so a kill at
any moment loses at most the cell in flight. A line cut short by a kill is dropped on reading and
cleared by the next writer.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import os
import struct
import sys
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ForwardRef,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from filelock import FileLock, Timeout

from benchharness.errors import BenchError
from benchharness.store.cells import Cell, canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

SCHEMA = 1
"""Version of the record's layout; raised when a reader of the old one would misread the new."""

NOT_APPLICABLE = "not applicable"
"""How the reasons of a record begin whose perturbation changes no voxel of the dataset."""

BROKEN_BY = "broken_by"
"""What a cascade of attacks keeps with its predictions: the part, counted from 1, that broke each
volume; 0 where it was wrong when clean, −1 where it withstood."""

DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    SyntaxError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
"""What reading damaged bytes raises, in `zipfile` and in NumPy's parser of headers."""

UNPACKED_LIMIT = 1 << 28
"""Bytes that an archive may hold unpacked: a million volumes of sixty classes, and no bomb."""

Verdict = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a certificate."""

    name: str
    """What was checked, in words: `norm within its bound`."""
    verdict: Verdict
    value: float | None = None
    """What was measured; None when not applicable."""
    bound: float | None = None
    """What it was held against; None when there is no number to hold it against."""
    reason: str = ""
    """Why it failed or does not apply; empty when passed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What a network answered on the volumes of one cell; any metric follows from it."""

    ids: NDArray[np.str_]
    """Shape (N,): the volumes' names."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    logits: NDArray[np.float32]
    """Shape (N, K), finite."""
    extra: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Per-volume findings of an attack, each of shape (N,): `norm`, `loss_start`, `loss_end`."""
    patients: NDArray[np.str_] | None = None
    """Shape (N,): whom each volume shows, where the dataset says so; volumes of one patient are not
    independent."""

    def to_bytes(self) -> bytes:
        """The .npz archive as bytes; the same predictions give the same bytes."""
        buffer = io.BytesIO()
        extra: dict[str, Any] = {f"extra_{name}": self.extra[name] for name in sorted(self.extra)}
        if self.patients is not None:
            extra["patients"] = self.patients
        np.savez_compressed(buffer, ids=self.ids, labels=self.labels, logits=self.logits, **extra)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, source: str) -> Predictions:
        """Read `to_bytes`; pickled arrays are refused.

        Raises:
            BenchError: When the archive is not one of ours; the message names `source`.
        """
        try:
            arrays = {
                name.removesuffix(".npy"): read_array(member)
                for name, member in unpack(content).items()
            }
            ids, labels, logits = (arrays.pop(name) for name in ("ids", "labels", "logits"))
            patients = arrays.pop("patients", None)
            ids.tolist()  # Raises where the bytes are no text.
            fitting = (
                ids.shape == labels.shape == logits.shape[:1] and logits.ndim == 2,
                ids.dtype.kind == "U" and labels.dtype == np.int64 and logits.dtype == np.float32,
                patients is None or (patients.shape == ids.shape and patients.dtype.kind == "U"),
            )
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BenchError(f"cannot read predictions {source}: {reason}.") from error
        if not all(fitting):
            raise BenchError(
                f"{source} holds ids {ids.shape}, labels {labels.shape} and logits {logits.shape} "
                f"of {ids.dtype}, {labels.dtype} and {logits.dtype}; expected (N,), (N,) and "
                "(N, K) of text, int64 and float32, and one patient a volume if any."
            )
        if not np.isfinite(logits).all():
            raise BenchError(
                f"{source} holds logits that are not finite. Remove it and its record, then run "
                "again."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
            raise BenchError(
                f"{source} holds labels {labels.min()}..{labels.max()}, expected "
                f"0..{logits.shape[1] - 1}. Remove it and its record, then run again."
            )
        for name, values in arrays.items():
            if values.dtype.kind not in "biuf" or values.shape[:1] != ids.shape:
                raise BenchError(
                    f"{source} holds {name} {values.shape} of {values.dtype}, expected one number "
                    "a volume. Remove it and its record, then run again."
                )
        extra = {name.removeprefix("extra_"): values for name, values in arrays.items()}
        return cls(ids=ids, labels=labels, logits=logits, extra=extra, patients=patients)


def unpack(content: bytes) -> dict[str, bytes]:
    """The members of a zip archive by name.

    Raises:
        ValueError: When a name stands twice or the members are larger than `UNPACKED_LIMIT`; other
            damage raises one of `DAMAGE`.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("a name stands twice in the archive")
        size = sum(member.file_size for member in members)
        if size > UNPACKED_LIMIT:
            raise ValueError(f"{size} bytes unpacked, expected at most {UNPACKED_LIMIT}")
        return {member.filename: archive.read(member) for member in members}


def read_array(content: bytes) -> NDArray[Any]:
    """Read an .npy file; nothing is allocated that is not there, no pickle is opened.

    Raises:
        ValueError: When its shape does not follow from its size or it holds objects; other damage
            raises one of `DAMAGE`.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be read, they could run code")
    body = content[stream.tell() :]
    count = math.prod(shape)
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or count * dtype.itemsize != len(body):
        raise ValueError(f"{len(body)} bytes do not hold {shape} of {dtype}")
    values: NDArray[Any] = np.frombuffer(body, dtype=dtype)
    return values.reshape(shape, order="F" if fortran else "C")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A predictions file as a record names it."""

    path: str
    """Relative to the store's folder."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a network costs; measured with the clean cell."""

    parameters: int
    """Number of trainable and frozen parameters."""
    flops: int
    """Floating-point operations of one forward pass of one volume; a multiply-add counts two."""
    latency_ms: float
    """Median milliseconds a volume in a batch of `latency_batch`, on the provenance's device."""
    latency_batch: int
    peak_memory_mib: float | None
    """Peak of the memory that a forward pass of that batch holds, weights included, in MiB; None
    where the device does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything known of one cell after it ran. One JSON line."""

    cell: Cell
    status: Literal["ok", "error"]
    metrics: dict[str, float | None]
    """Point values by name; None where undefined. Intervals are computed when reading."""
    undefined: dict[str, str]
    """For each metric that is None, why."""
    certificate: tuple[Check, ...]
    """Record checks; empty for clean cells and artefacts without any."""
    facts: dict[str, Any]
    """What the perturbation reports of itself: clipped fraction, effective protocol, …"""
    cost: ModelCost | None
    """Only in clean cells."""
    predictions: Stored | None
    """None when the cell failed, or its perturbation changes no voxel of the dataset."""
    provenance: dict[str, Any]
    """Device, batch size, versions, times, host: what may differ without changing the identity."""
    error: str | None
    """One line that says why the cell failed; None when it did not."""
    schema: int = SCHEMA

    @property
    def identity(self) -> str:
        """The cell's identity."""
        return self.cell.identity

    @property
    def suspect(self) -> bool:
        """Whether a record check failed, so that the number must not be ranked."""
        return any(check.verdict == "failed" for check in self.certificate)

    @property
    def inapplicable(self) -> str:
        """Why the perturbation does not apply to the dataset; empty where it does, or failed."""
        if self.predictions is not None:
            return ""
        reasons = (why for why in self.undefined.values() if why.startswith(NOT_APPLICABLE))
        return next(reasons, "")

    def to_line(self) -> str:
        """One line of JSON without its newline; NaN and infinity raise ValueError."""
        payload = asdict(self)
        payload["cell"] = self.cell.to_json()
        payload["identity"] = self.identity
        return canonical_json(payload)

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read `to_line`.

        Raises:
            BenchError: When the line is not a record, comes from a newer schema, or its identity
                does not follow from its cell.
        """
        try:
            payload = json.loads(
                line,
                parse_constant=_refuse_constant,
                parse_float=_finite,
                object_pairs_hook=_without_repetitions,
            )
            schema = payload["schema"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BenchError(f"not a record: {error}.") from error
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise BenchError(f"not a record: its schema is {schema!r}, expected {SCHEMA}.")
        if schema > SCHEMA:
            raise BenchError(
                f"the store has schema {schema}, this benchharness reads up to {SCHEMA}. "
                "Upgrade with 'pip install --upgrade benchharness'."
            )
        try:
            payload = _migrated(payload)
            identity = payload.pop("identity")
            payload["cell"] = Cell.from_json(payload["cell"])
            payload["certificate"] = tuple(Check(**check) for check in payload["certificate"])
            payload["cost"] = None if payload["cost"] is None else ModelCost(**payload["cost"])
            stored = payload["predictions"]
            payload["predictions"] = None if stored is None else Stored(**stored)
            record = cls(**payload)
            _check_types(record)
            expected = record.identity
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            RecursionError,
        ) as error:
            reason = f"{type(error).__name__}: {error}"
            raise BenchError(f"not a record of schema {schema}: {reason}.") from error
        if identity != expected:
            raise BenchError(
                f"record {str(identity)[:12]} does not match its own cell ({expected[:12]}): the "
                "line was edited. Remove it and run again."
            )
        return record


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By schema, what makes a line's JSON of it one of the next schema.

Whoever raises `SCHEMA` adds the step from the one before. A step that changes what an identity
follows from also writes the new `identity`. Lines are migrated when read, never rewritten.
"""


def _migrated(payload: dict[str, Any]) -> dict[str, Any]:
    for schema in range(payload["schema"], SCHEMA):
        payload = MIGRATIONS[schema](payload) | {"schema": schema + 1}
    return payload


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is no number that a computer holds")
    return number


def _without_repetitions(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a key stands twice in one object")
    return found


_SCALARS = (str, int, float, bool, NoneType)


@cache
def _annotations(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_types(value: Any, where: str = "record") -> None:
    """Hold the fields of a dataclass, and of those inside it, against their annotations."""
    annotations = _annotations(type(value))  # type: ignore[arg-type]  # classes can be hashed
    for part in fields(value):
        found, name = getattr(value, part.name), f"{where}.{part.name}"
        if not _fits(found, annotations[part.name], name):
            raise TypeError(f"{name} is {found!r}")


def _fits(value: Any, annotation: Any, where: str) -> bool:
    if annotation is float and type(value) is int:
        return abs(value) <= sys.float_info.max
    if annotation in _SCALARS:
        return type(value) is annotation
    if annotation is Any or isinstance(annotation, ForwardRef):
        return True
    if is_dataclass(annotation):
        if not isinstance(value, annotation):  # type: ignore[arg-type]
            return False
        _check_types(value, where)
        return True
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (UnionType, Union):
        return any(_fits(value, option, where) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple and inner[-1] is ...:
        return isinstance(value, tuple) and all(_fits(item, inner[0], where) for item in value)
    if origin is tuple:
        return (
            isinstance(value, tuple)
            and len(value) == len(inner)
            and all(map(_fits, value, inner, [where] * len(inner)))
        )
    return isinstance(value, dict) and all(_fits(item, inner[1], where) for item in value.values())


class Store:
    """A folder of records and predictions.

    Args:
        directory: The folder; created by `writing`, never by reading.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines = directory / "records.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where `bench run` and `bench train` keep what they train."""
        return self.directory / "checkpoints"

    def records(self) -> dict[str, Record]:
        """The newest record of every identity, in the order of first appearance.

        Raises:
            BenchError: When a complete line is not a record; the message names file and line.
        """
        if not self.lines.exists():
            return {}
        found: dict[str, Record] = {}
        try:
            content = self.lines.read_bytes()
        except OSError as error:
            raise BenchError(f"cannot read records {self.lines}: {error.strerror}.") from error
        complete = content[: content.rfind(b"\n") + 1]
        for number, raw in enumerate(complete.splitlines(), start=1):
            try:
                record = Record.from_line(raw.decode())
            except (BenchError, UnicodeDecodeError) as error:
                raise BenchError(f"{self.lines}, line {number}: {error}") from error
            found[record.identity] = record
        return found

    def predictions(self, record: Record) -> Predictions:
        """The predictions of a record, checked against their hash.

        Raises:
            BenchError: When the record has none, or the file is gone, changed or unreadable.
        """
        if record.predictions is None:
            why = "is not applicable" if record.inapplicable else "failed"
            raise BenchError(f"record {record.identity[:12]} {why} and has no predictions.")
        path = self.directory / record.predictions.path
        if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self.directory)):
            raise BenchError(
                f"record {record.identity[:12]} names predictions outside its store: {path}. "
                "Remove the record and run again."
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BenchError(f"cannot read predictions {path}: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest() != record.predictions.sha256:
            raise BenchError(
                f"{path} is not the file that was recorded (its SHA-256 differs). Remove it and "
                "its record, then run again."
            )
        return Predictions.from_bytes(content, source=str(path))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock; clears what a killed writer left half-done.

        Raises:
            BenchError: When another process holds the lock or the folder cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "predictions").mkdir(exist_ok=True)
            lock = FileLock(self.directory / ".lock", timeout=0)
            with lock:
                self._clear_half_done()
                yield
        except Timeout:
            raise BenchError(
                f"another run is writing to {self.directory}. Wait for it, or pass another --out."
            ) from None
        except OSError as error:
            if error.filename is None or not str(error.filename).startswith(str(self.directory)):
                raise
            raise BenchError(
                f"cannot write to {self.directory}: {error.strerror}. Pass another --out."
            ) from error

    def save_predictions(self, cell: Cell, predictions: Predictions) -> Stored:
        """Write predictions atomically; call within `writing`, before `append`."""
        content = predictions.to_bytes()
        relative = Path("predictions") / f"{cell.identity}.npz"
        write_atomically(self.directory / relative, content)
        return Stored(path=relative.as_posix(), sha256=hashlib.sha256(content).hexdigest())

    def append(self, record: Record) -> None:
        """Append one record durably; call within `writing`."""
        with self.lines.open("ab") as stream:
            stream.write(record.to_line().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _clear_half_done(self) -> None:
        for partial in self.directory.glob("predictions/.*.partial"):
            partial.unlink()
        if not self.lines.exists():
            return
        content = self.lines.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            with self.lines.open("r+b") as stream:
                stream.truncate(end)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
