"""Predictions: a network's output on the volumes of one cell, as one .npz file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.disk import DAMAGE, read_array, unpack
from benchharness.errors import BenchError
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

BROKEN_BY = "broken_by"
"""The finding of a cascade of attacks: which part broke each volume, counted from 1.

0 marks a volume that was misclassified when clean, −1 one that no part broke.
"""

_VALIDATION = ("val_ids", "val_labels", "val_logits")
"""The arrays of the validation volumes, which a clean cell keeps."""

MINIMAL_NORM = "minimal_norm"
"""The finding of an attack without a budget: the norm of the closest volume that it found."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """A network's output on the volumes of one cell, from which any metric can be computed."""

    ids: NDArray[np.str_]
    """Shape (N,): the volumes' names."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    logits: NDArray[np.float32]
    """Shape (N, K), finite."""
    extra: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Per-volume findings of an attack, each of shape (N,): `norm`, `loss_start`, `loss_end`."""
    patients: NDArray[np.str_] | None = None
    """Shape (N,): the patient that each volume shows; None where the dataset does not say."""
    validation: Predictions | None = None
    """Of the clean validation volumes, on which thresholds are frozen; clean cells keep them."""

    @cached_property
    def metrics(self) -> tuple[metrics.Values, dict[str, str]]:
        """What `metrics.compute` gives: values by name, and why there is none. Found once."""
        return metrics.compute(self.labels, self.logits)

    def to_bytes(self) -> bytes:
        """The .npz archive as bytes; the same predictions give the same bytes."""
        buffer = io.BytesIO()
        extra: dict[str, Any] = {f"extra_{name}": self.extra[name] for name in sorted(self.extra)}
        if self.patients is not None:
            extra["patients"] = self.patients
        if self.validation is not None:
            val = self.validation
            extra |= dict(zip(_VALIDATION, (val.ids, val.labels, val.logits), strict=True))
        np.savez_compressed(buffer, ids=self.ids, labels=self.labels, logits=self.logits, **extra)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, source: str) -> Predictions:
        """Read what `to_bytes` gave; pickled arrays are refused.

        Raises:
            BenchError: When the archive is damaged or holds something else; the message names
                `source`.
        """
        try:
            arrays = {
                name.removesuffix(".npy"): read_array(member)
                for name, member in unpack(content).items()
            }
            ids, labels, logits = (arrays.pop(name) for name in ("ids", "labels", "logits"))
            patients = arrays.pop("patients", None)
            ids.tolist()  # Raises where the bytes are no text.
            validation = _validation(arrays, logits)
            fitting = (
                *_fit(ids, labels, logits),
                patients is None or (patients.shape == ids.shape and patients.dtype.kind == "U"),
            )
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BenchError(f"cannot read predictions {source}: {reason}.") from error
        if not all(fitting):
            raise BenchError(
                f"{source} holds ids {ids.shape}, labels {labels.shape} and logits {logits.shape} "
                f"of {ids.dtype}, {labels.dtype} and {logits.dtype}; expected (N,), (N,) and "
                "(N, K) of text, int64 and float32, and one patient per volume if any."
            )
        if wrong := fault(labels, logits):
            raise BenchError(f"{source} holds {wrong}. Remove it and its record, then run again.")
        for name, values in arrays.items():
            if values.dtype.kind not in "biuf" or values.shape[:1] != ids.shape:
                raise BenchError(
                    f"{source} holds {name} {values.shape} of {values.dtype}, expected one number "
                    "per volume. Remove it and its record, then run again."
                )
        extra = {name.removeprefix("extra_"): values for name, values in arrays.items()}
        return cls(
            ids=ids,
            labels=labels,
            logits=logits,
            extra=extra,
            patients=patients,
            validation=validation,
        )


def _fit(ids: NDArray[Any], labels: NDArray[Any], logits: NDArray[Any]) -> tuple[bool, bool]:
    """Whether shapes, and whether types, are those of predictions."""
    return (
        ids.shape == labels.shape == logits.shape[:1] and logits.ndim == 2,
        ids.dtype.kind == "U" and labels.dtype == np.int64 and logits.dtype == np.float32,
    )


def _validation(arrays: dict[str, NDArray[Any]], logits: NDArray[Any]) -> Predictions | None:
    """Take the validation volumes out of the arrays of an archive, where it has any.

    Raises:
        ValueError: When they are no predictions of the same classes.
    """
    if not set(_VALIDATION) & arrays.keys():
        return None
    ids, labels, own = (arrays.pop(name) for name in _VALIDATION)
    ids.tolist()  # Raises where the bytes are no text.
    if not all(_fit(ids, labels, own)) or own.shape[1:] != logits.shape[1:]:
        raise ValueError(f"the validation volumes have ids {ids.shape} and logits {own.shape}")
    if wrong := fault(labels, own):
        raise ValueError(f"the validation volumes have {wrong}")
    return Predictions(ids=ids, labels=labels, logits=own)


def fault(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> str:
    """Say what is wrong with labels (N,) and logits (…, N, K) that were read; empty if nothing."""
    if not np.isfinite(logits).all():
        return "logits that are not finite"
    classes = logits.shape[-1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        return f"labels {labels.min()}..{labels.max()}, expected 0..{classes - 1}"
    return ""
