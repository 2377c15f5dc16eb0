"""The worst case per volume: every volume as the cell of a condition that treats it worst.

A claim about attacks "up to ε" is about whoever attacks each volume with what works best there, so
cells are joined volume by volume, not averaged. With one cell nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from benchharness.errors import BenchError
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.evidence.claims import Claim
    from benchharness.report.cells.rows import Row
    from benchharness.statistics.basis import Booleans, Floats
    from benchharness.statistics.metrics import Labels, Logits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What a metric of a claim is computed from."""

    labels: Labels
    """(N,); 0 and 1 where the claim names a class."""
    logits: Floats
    """(N, K), or (N, 2) where the claim names a class: 0 and the log odds of the class."""


def class_of(claim: Claim, classes: int) -> int | None:
    """The class that a claim is about; of two classes the second, unless it names one.

    Raises:
        BenchError: When there is no such class, or several and the claim names none.
    """
    if claim.label is not None:
        if claim.label >= classes:
            raise BenchError(
                f"claim {claim.name!r}: class got {claim.label}; type one of 0 to {classes - 1}."
            )
        return claim.label
    if claim.metric in ("accuracy", "balanced_accuracy"):
        return None
    if classes == 2:
        return 1
    if claim.metric == "auc" and claim.condition.kind == "clean":
        return None
    raise BenchError(
        f"claim {claim.name!r}: {claim.metric} needs a class where there are {classes}; type class "
        f"= one of 0 to {classes - 1}."
    )


def worst(rows: Sequence[Row], label: int | None) -> Sample:
    """Join cells on the same volumes.

    Over all classes each volume takes the logits with the smallest margin of its label. For one
    class a volume of the class takes its lowest log odds, and any other its highest: no choice of
    cells gives fewer hits, more false alarms or a lower AUC.

    Args:
        rows: At least one, with predictions of the same volumes in the same order.
        label: The class; None for all.
    """
    found = [row.predictions for row in rows if row.predictions is not None]
    labels = found[0].labels
    if label is None:
        logits = np.stack([one.logits.astype(np.float64) for one in found])
        margins = np.stack([metrics.margins(labels, one) for one in logits])
        chosen = margins.argmin(axis=0)
        return Sample(labels=labels, logits=logits[chosen, np.arange(len(labels))])
    odds = np.stack([log_odds(one.logits, label) for one in found])
    positive = labels == label
    joined = np.where(positive, odds.min(axis=0), odds.max(axis=0))
    return Sample(
        labels=positive.astype(np.int64),
        logits=np.stack([np.zeros_like(joined), joined], axis=1),
    )


def log_odds(logits: Logits, label: int) -> Floats:
    """Log p/(1 − p) of a class from logits (N, K), (N,)."""
    values = logits.astype(np.float64)
    others = np.delete(values, label, axis=1)
    odds: Floats = values[:, label] - special.logsumexp(others, axis=1)
    return odds


def hits(sample: Sample, metric: str, threshold: float) -> tuple[Booleans, Booleans]:
    """Which volumes count for sensitivity or specificity, and which of these are right.

    Returns:
        Both (N,): the volumes of the class or all others, and those called as they should be.
    """
    called = metrics.softmax(sample.logits)[:, 1] > threshold
    positive = sample.labels == 1
    return (positive, called) if metric == "sensitivity" else (~positive, ~called)
