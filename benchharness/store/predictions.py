"""Predictions: what a network answered on the volumes of one cell, as one .npz file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.disk import DAMAGE, read_array, unpack
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BROKEN_BY = "broken_by"
"""What a cascade of attacks keeps with its predictions: the part, counted from 1, that broke each
volume; 0 where it was wrong when clean, −1 where it withstood."""


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
