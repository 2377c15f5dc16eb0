"""A file of weights → everything in it, as nested dicts; no code in it is ever run."""

from __future__ import annotations

import argparse
import builtins
import collections
import datetime
import pathlib
import re
import struct
import warnings
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

_LARGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file, as its format limits it."""

_ONLY_WEIGHTS = (
    "Save the weights alone: torch.save(network.state_dict(), PATH) in the program that made it"
)


def read(path: Path, *, flag: str) -> Any:
    """Read a .safetensors file, or any file of `torch.save`.

    The kind is told from the first bytes, not from the name.

    Args:
        path: The file.
        flag: The option that named it, for messages.

    Returns:
        What was saved: usually a dict, with tensors on the CPU.

    Raises:
        BenchError: If the file is absent, damaged, no file of weights, or holds an object of a
            class that is not known to be harmless.
    """
    if not path.is_file():
        raise BenchError(f"no checkpoint at {path}. Check the path given to {flag}.")
    try:
        content = _read(path)
    except BenchError:
        raise
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(f"cannot read checkpoint {path}: {first}") from error
    except Exception as error:  # unpickling a damaged file may raise any class of error
        raise _unopened(path, error) from error
    _check_sizes(path, content)
    return content


def _read(path: Path) -> Any:
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(9)
    if path.suffix == ".safetensors" or _is_safetensors(first, size):
        return load_file(path)
    if first.startswith(b"\x89HDF"):
        raise BenchError(
            f"checkpoint {path} is an HDF5 file, which Keras writes. Convert the weights to a "
            "state dict of PyTorch first."
        )
    if first.startswith(b"PK"):
        _check_archive(path, size)
    with torch.serialization.safe_globals(list(_harmless())), warnings.catch_warnings():
        # It speaks of the pickle's protocol, which says nothing of its content.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_safetensors(first: bytes, size: int) -> bool:
    if len(first) < 9 or first[8:] != b"{":
        return False
    (header,) = struct.unpack("<Q", first[:8])
    return bool(header <= min(size - 8, _LARGEST_HEADER))


def _check_archive(path: Path, size: int) -> None:
    """Refuse programs, and archives that unpack to more than they hold; torch compresses nothing.

    Raises:
        BenchError: For these.
        zipfile.BadZipFile: When it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = {member.filename.partition("/")[2] for member in members}
    for kind, mark in (("torchscript", "constants.pkl"), ("pt2", "archive_format")):
        if mark in names:
            raise BenchError(
                f"checkpoint {path} is a whole program, not weights. Name it as a model: --models "
                f"{kind}:{path} --trust, which runs it, or save the weights alone."
            )
    unpacked = sum(member.file_size for member in members)
    if unpacked > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise BenchError(
            f"cannot read checkpoint {path}: its {size} bytes unpack to {unpacked}, and torch "
            f"compresses nothing. {_ONLY_WEIGHTS}."
        )


def _check_sizes(path: Path, content: Any) -> None:
    """Refuse tensors that would take more memory than the file has bytes, or have no values."""
    size = path.stat().st_size
    for name, tensor in _tensors(content):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise BenchError(
                f"cannot read checkpoint {path}: {name} is a "
                f"{'meta' if tensor.device.type == 'meta' else 'sparse'} tensor. Save dense ones."
            )
        if tensor.numel() * tensor.element_size() > size:
            raise BenchError(
                f"cannot read checkpoint {path}: {name} claims shape {tuple(tensor.shape)}, more "
                f"than its {size} bytes hold."
            )


DEEPEST = 8
"""Dicts inside one another that are looked through."""


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    for where, group in dicts(content):
        for key, value in group.items():
            if isinstance(value, torch.Tensor):
                yield "/".join((*where, str(key))), value


def dicts(content: Any) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """Every dict in what was saved, with the keys that lead to it; each once, the outer first."""
    seen: set[int] = set()
    todo: collections.deque[tuple[tuple[str, ...], Any]] = collections.deque([((), content)])
    while todo:
        where, value = todo.popleft()
        if not isinstance(value, dict) or id(value) in seen or len(where) > DEEPEST:
            continue
        seen.add(id(value))
        yield where, value
        todo += [((*where, str(key)), inner) for key, inner in value.items()]


def _unopened(path: Path, error: Exception) -> BenchError:
    """The refusal of a pickle that asks for something that is not on the list, or is damaged."""
    text = str(error)
    asked = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"reduce for .*?'?([\w.]+)'?>", text)
    if asked is None:
        return BenchError(
            f"cannot read checkpoint {path}: it is damaged or holds more than tensors. "
            f"{_ONLY_WEIGHTS}."
        )
    return BenchError(
        f"cannot read checkpoint {path}: it holds {asked[1]}, and opening that could run code. "
        f"A whole network saved by torch.save(network, …) is such a file. {_ONLY_WEIGHTS}."
    )


class _AttributeDict:
    """In place of Lightning's dict of hyperparameters, which is read without Lightning."""

    def __new__(cls) -> collections.OrderedDict[str, Any]:  # type: ignore[misc]
        # torch lets a pickle fill dicts of this class, but of no other.
        return collections.OrderedDict()


@cache
def _harmless() -> tuple[Any, ...]:
    """What a pickle may name beside tensors: classes and functions that only hold a value."""
    known: dict[str, Any] = {
        "argparse.Namespace": argparse.Namespace,
        "collections.defaultdict": _default_dict,
        "collections.deque": _list,
        **{
            f"builtins.{name}": getattr(builtins, name)
            for name in (
                *("list", "dict", "tuple", "frozenset", "slice", "range"),
                *("int", "float", "str", "bool"),
            )
        },
        **{
            f"datetime.{kind.__name__}": kind
            for kind in (datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone)
        },
        **dict(_numpy()),
    }
    for module in ("pathlib", "pathlib._local"):
        # A path of the other system cannot be made here, and none is ever followed.
        for kind in ("PosixPath", "PurePosixPath", "Path", "PurePath"):
            known[f"{module}.{kind}"] = pathlib.PurePosixPath
        for kind in ("WindowsPath", "PureWindowsPath"):
            known[f"{module}.{kind}"] = pathlib.PureWindowsPath
    for module in (
        "lightning.fabric.utilities.data",
        "lightning_fabric.utilities.data",
        "pytorch_lightning.utilities.parsing",
    ):
        known[f"{module}.AttributeDict"] = _AttributeDict
    return tuple((value, name) for name, value in known.items())


def _default_dict(*_: object) -> collections.Counter[Any]:
    """In place of a defaultdict: torch lets a pickle fill a Counter, which calls nothing."""
    return collections.Counter()


def _list(*_: object) -> list[Any]:
    """In place of a deque, for the same reason."""
    return []


def _numpy() -> Iterator[tuple[str, Any]]:
    """Scalars, arrays and their types, under the names of NumPy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    rebuild = np.zeros(1).__reduce__()[0]
    for package in ("numpy.core", "numpy._core"):
        yield f"{package}.multiarray.scalar", scalar
        yield f"{package}.multiarray._reconstruct", rebuild
    yield "numpy.ndarray", np.ndarray
    yield "numpy.dtype", np.dtype
    # An instance's class is what BUILD asks for.
    for code in set(np.typecodes["All"]) - {"O", "V"}:  # neither objects nor records
        kind = type(np.dtype(code))
        yield f"numpy.dtypes.{kind.__name__}", kind
