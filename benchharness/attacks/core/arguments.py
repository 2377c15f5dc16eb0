"""Checks of an attack's arguments: parameters when it is built, volumes and labels when called."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from benchharness.errors import BenchError
from benchharness.outside import settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")

_KINDS = ("bool", "float", "int")
"""The types that a parameter may have, by annotation."""


def parameter(default: T, *, low: float = -math.inf, high: float = math.inf) -> T:
    """Declare a parameter of an attack: its default and its range, both ends included."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def checked_parameter(attack: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value of a parameter in its declared type, or raise BenchError."""
    where = f"parameter {field.name!r} of attack {attack!r}"
    # With postponed annotations this is a string, without them the type itself.
    declared = getattr(field.type, "__name__", field.type)
    if declared not in _KINDS:
        raise BenchError(f"{where} is declared {declared}; parameters are int, float or bool.")
    return settings.checked(where, declared, field, value)


def checked_volumes(volumes: Tensor) -> Tensor:
    """Return the volumes, or raise BenchError unless float32 (B, C, D, H, W) in [0, 1]."""
    if volumes.dim() != 5 or volumes.dtype != torch.float32 or len(volumes) == 0:
        raise BenchError(
            "an attack takes float32 volumes of shape (B, C, D, H, W), received "
            f"{str(volumes.dtype).removeprefix('torch.')} of shape {tuple(volumes.shape)}."
        )
    if not torch.isfinite(volumes).all():
        raise BenchError("the volumes hold NaN or infinity; an attack takes intensities in [0, 1].")
    low, high = float(volumes.min()), float(volumes.max())
    if low < 0 or high > 1:
        raise BenchError(
            f"the volumes' intensities go from {low:g} to {high:g}; an attack takes [0, 1]. Divide "
            "uint8 by 255, and keep normalisation inside the classifier."
        )
    return volumes.detach()


def checked_labels(labels: Tensor | NDArray[np.int64], count: int, num_classes: int) -> Tensor:
    """Return labels as int64 (B,), or raise BenchError unless they are integers in 0..K−1."""
    tensor = torch.as_tensor(labels)
    if tensor.shape != (count,):
        raise BenchError(
            f"labels have shape {tuple(tensor.shape)}, expected ({count},). MedMNIST's (N, 1) "
            "labels need labels[:, 0]."
        )
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise BenchError(
            f"labels are {str(tensor.dtype).removeprefix('torch.')}, expected integers."
        )
    if int(tensor.min()) < 0 or int(tensor.max()) >= num_classes:
        raise BenchError(
            f"labels go from {int(tensor.min())} to {int(tensor.max())}, expected 0 to "
            f"{num_classes - 1}."
        )
    return tensor.long()
