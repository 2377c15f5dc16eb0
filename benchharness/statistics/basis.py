"""What every method shares: the interval, the level, groups of metrics, checks of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from benchharness.errors import BenchError, unknown_name
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchharness.statistics.metrics import Labels, Logits

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Predicted = tuple[Labels, Logits]
    """Labels (N,) and logits (N, K) of one cell."""
    Patients = NDArray[np.str_]
    """(N,): the patient that each volume shows."""

LEVEL = 0.95
"""Confidence of an interval unless told otherwise."""

SHARES = ("accuracy", "auc", "balanced_accuracy")
"""Metrics in [0, 1] for which more is better."""

BY_CLASS = ("auc", "balanced_accuracy")
"""Metrics that need every class; their resamples keep the number of volumes in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float
    """Nominal coverage, in (0, 1)."""
    method: str
    """How it was computed, in words."""


def quantile(level: float) -> float:
    """The z for which a standard normal variable lies in ±z with probability `level`."""
    return float(special.ndtri((1 + level) / 2))


def check_metric(metric: str) -> None:
    """Refuse a metric that `metrics.compute` does not know."""
    if metric not in metrics.NAMES:
        raise unknown_name("metric", metric, metrics.NAMES)


def check_shares(metric: str, cells: Sequence[Predicted]) -> None:
    """Refuse cells of different volumes, and cells on which the metric is undefined."""
    if metric not in SHARES:
        raise unknown_name("metric", metric, SHARES)
    if not cells or len(cells[0][0]) == 0:
        raise BenchError(f"{metric} needs at least one cell with volumes, got none.")
    labels, logits = cells[0]
    if any(not np.array_equal(labels, other) for other, _ in cells[1:]):
        raise BenchError(
            "cells can be combined only on the same volumes in the same order, got different "
            "labels. Combine cells of one dataset and one --limit."
        )
    if metric in BY_CLASS and (reason := metrics.absent_classes(labels, logits.shape[1])):
        raise BenchError(f"{metric} is undefined: {reason}. Raise or leave out --limit.")


def check_paired(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    """Refuse two models measured on different numbers of volumes, or on none."""
    if len(first) != len(second) or len(first) == 0:
        raise BenchError(
            f"a paired test needs the same volumes of both models, got {len(first)} and "
            f"{len(second)}. Leave out the volumes that only one of them has."
        )
