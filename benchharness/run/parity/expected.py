"""What the owner of a network got elsewhere: logits in a file, or the value of a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.disk import DAMAGE, file_sha256, user_path
from benchharness.errors import BenchError
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FORMS = "Type --expect logits.npz or --expect accuracy=0.87"
TOLERANCE = 1e-3
"""Bound on the difference of two logits, relative to the largest of the volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The value of a metric on a split."""

    name: str
    value: float
    tolerance: float
    """Half a unit of the last digit that was typed, unless more is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits:
    """Logits of volumes, in the order of a split unless they have ids."""

    path: Path
    sha256: str
    values: NDArray[np.float64]
    """(N, K), or (N, 1) for one logit of a binary task."""
    ids: tuple[str, ...] | None
    labels: NDArray[np.int64] | None
    tolerance: float


def read(text: str, tolerance: float | None = None) -> Metric | Logits:
    """Read what follows `--expect`.

    Args:
        text: `NAME=VALUE` of a metric, or the path of an .npz with `logits` (N, K) and perhaps
            `ids` and `labels` (N,), or of an .npy with the logits.
        tolerance: None takes half a unit of the last digit for a metric, `TOLERANCE` for logits.

    Raises:
        BenchError: When it is neither, or the file holds something else.
    """
    if tolerance is not None and not (0 < tolerance < math.inf):
        raise BenchError(f"--tolerance takes a number above 0, got {tolerance:g}.")
    name, equals, value = text.partition("=")
    if equals and name.strip() in metrics.NAMES:
        return _metric(name.strip(), value.strip(), tolerance)
    path = user_path(text, what="--expect")
    if path.suffix not in (".npz", ".npy"):
        known = ", ".join(metrics.NAMES)
        raise BenchError(f"--expect takes an .npz or a metric ({known}), got {text!r}. {_FORMS}.")
    return _logits(path, TOLERANCE if tolerance is None else tolerance)


def _metric(name: str, text: str, tolerance: float | None) -> Metric:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"--expect takes a number after {name}=, got {text!r}. {_FORMS}.")
    _, _, decimals = text.lower().partition(".")
    half = 0.5 * 10.0 ** -len(decimals) if decimals.isdigit() else 1e-6 * max(1.0, abs(value))
    # Between two decimals lies the value itself, and a rounding of the last bits beside it.
    return Metric(name=name, value=value, tolerance=tolerance or half * (1 + 1e-9))


def _logits(path: Path, tolerance: float) -> Logits:
    if not path.is_file():
        raise BenchError(f"no file at {path}. Check the path given to --expect.")
    try:
        with path.open("rb") as stream:
            content: Any = np.load(stream, allow_pickle=False)
            arrays = {"logits": content} if path.suffix == ".npy" else dict(content)
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"cannot read {path}: {reason}. Save arrays with numpy.savez.") from error
    values = _values(path, arrays)
    count = len(values)
    ids, labels = arrays.get("ids"), arrays.get("labels")
    for name, array in (("ids", ids), ("labels", labels)):
        if array is not None and array.size != count:
            raise BenchError(f"{path} has {count} logits and {array.size} {name}. Save as many.")
    if labels is not None and (labels.dtype.kind not in "iufb" or (labels != labels.round()).any()):
        raise BenchError(f"{path} has labels of {labels.dtype}. Save class numbers from 0.")
    texts = None if ids is None else tuple(map(str, ids.reshape(-1).tolist()))
    if texts is not None and len(set(texts)) < count:
        raise BenchError(f"{path} has an id twice. Save each volume once.")
    return Logits(
        path=path,
        sha256=file_sha256(path),
        values=values,
        ids=texts,
        labels=None if labels is None else labels.reshape(-1).astype(np.int64),
        tolerance=tolerance,
    )


def _values(path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The logits among the arrays of a file."""
    floats = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.ndim]
    chosen = "logits" if "logits" in arrays else floats[0] if len(floats) == 1 else ""
    array = arrays.get(chosen)
    if array is None or array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise BenchError(
            f"{path} holds {_listed(arrays)}, and needs logits (N, K). Save them with "
            "numpy.savez(path, logits=..., ids=...)."
        )
    values = array.reshape(len(array), -1).astype(np.float64)
    if not np.isfinite(values).all():
        raise BenchError(f"{path} holds logits that are not finite. Save them again.")
    return values


def _listed(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"


def places(expected: Logits, ids: Sequence[str], split: str) -> NDArray[np.int64]:
    """Where the expected volumes are in a split.

    Raises:
        BenchError: When the split does not hold them all, or without ids has another number.
    """
    if expected.ids is None:
        if len(expected.values) != len(ids):
            raise BenchError(
                f"{expected.path} holds logits of {len(expected.values)} volumes, the {split} "
                f"split has {len(ids)}. Save ids beside them, such as {ids[0]!r}, or name another "
                "--split."
            )
        return np.arange(len(ids))
    known = {name: place for place, name in enumerate(ids)}
    strange = [name for name in expected.ids if name not in known]
    if strange:
        raise BenchError(
            f"{expected.path} names {strange[0]!r}, which the {split} split does not hold; its ids "
            f"are like {ids[0]!r}. Save those, or name another --split."
        )
    return np.asarray([known[name] for name in expected.ids])
