"""Point metrics of labels and logits, computed from arrays alone.

Accuracy and AUC are those of `medmnist.Evaluator` 3.0.2 on the softmax of the logits. With two
classes the second probability is the score, and a volume is positive where it exceeds 0.5. With
more, the largest probability wins, the first of equal ones, and the AUC is the unweighted mean of
each class against the rest. An undefined value is None with a reason; it is never NaN and never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int64]
    Logits = NDArray[np.floating]
    Values = dict[str, float | None]

CALIBRATION_BINS = 15

UNRESOLVED = 1e-12
"""Logits closer together give probabilities that float64 cannot order."""

NAMES = ("accuracy", "auc", "balanced_accuracy", "brier", "ece", "nll")
"""Every metric of `compute`."""


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities (N, K) of logits (N, K).

    Computed in float64, where a probability reaches 1 only at a margin of 37. In float32 it does so
    at 17, and confident volumes that a network does tell apart would tie.
    """
    probabilities: NDArray[np.float64] = special.softmax(logits.astype(np.float64), axis=1)
    return probabilities


def predicted_classes(logits: Logits) -> Labels:
    """Predicted classes (N,): with two classes p₁ > 0.5, else the first largest probability.

    The logits decide. They are ordered as the probabilities are, and tell apart what these round to
    one value.
    """
    largest: Labels = logits.argmax(axis=1)
    return largest


def correct(labels: Labels, logits: Logits) -> NDArray[np.bool_]:
    """Which volumes (N,) are classified correctly."""
    right: NDArray[np.bool_] = predicted_classes(logits) == labels
    return right


def margins(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Logit of the label minus the largest other logit, (N,); negative where misclassified.

    At a margin of exactly 0 the lowest of the tied classes is predicted.
    """
    values = logits.astype(np.float64)
    rows = np.arange(len(labels))
    own = values[rows, labels]
    values[rows, labels] = -np.inf
    margin: NDArray[np.float64] = own - values.max(axis=1)
    return margin


def absent_classes(labels: Labels, num_classes: int) -> str:
    """Name the classes without volumes, `class 2 has no volume`; empty when all have some."""
    absent = sorted(set(range(num_classes)) - set(labels.tolist()))
    if not absent:
        return ""
    listing = ", ".join(map(str, absent))
    return f"class {listing} has no volume" if len(absent) == 1 else f"classes {listing} have none"


def compute(labels: Labels, logits: Logits) -> tuple[Values, dict[str, str]]:
    """Every point metric of one cell.

    Args:
        labels: (N,), 0..K−1.
        logits: (N, K), K ≥ 2, finite.

    Returns:
        The values by name (`NAMES`), None where undefined, and the reason for each None. `nll` is
        in nats; the functions below give the ranges of the others.

    Raises:
        BenchError: When the arrays do not fit each other or a logit is not finite.
    """
    _check(labels, logits)
    if len(labels) == 0:
        return dict.fromkeys(NAMES), dict.fromkeys(NAMES, "no volumes")
    values: Values = dict.fromkeys(NAMES)
    values["accuracy"] = float(correct(labels, logits).mean())
    values["brier"] = float(brier_scores(labels, logits).mean())
    values["nll"] = float(log_losses(labels, logits).mean())
    values["ece"] = float(np.abs(calibration_gaps(labels, logits).mean(axis=0)).sum())
    if reason := absent_classes(labels, logits.shape[1]):
        return values, {"auc": reason, "balanced_accuracy": reason}
    values["balanced_accuracy"] = float(recalls(labels, logits).mean())
    spread = float(np.ptp(logits.astype(np.float64), axis=1).max())
    if 0 < spread < UNRESOLVED:
        reason = f"the logits of a volume differ by {spread:.2g} at most, and probabilities tie"
        return values, {"auc": reason}
    values["auc"] = auc(labels, logits)
    return values, {}


def auc(labels: Labels, logits: Logits) -> float:
    """Area under the ROC curve in [0, 1]; a tie counts one half, and every class needs a volume."""
    scores = softmax(logits)
    if logits.shape[1] == 2:
        return _area(labels == 1, scores[:, 1])
    # Summed and divided as the Evaluator does it, so that the last bit agrees.
    areas = [_area(labels == k, scores[:, k]) for k in range(logits.shape[1])]
    return sum(areas) / len(areas)


def _area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """What `roc_auc_score` computes, without its checks of what the targets are."""
    from sklearn.metrics import auc, roc_curve

    false_positives, true_positives, _ = roc_curve(positive, scores)
    return float(auc(false_positives, true_positives))


def recalls(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Share of each class that is classified correctly, (K,); every class needs a volume.

    Its mean is the balanced accuracy.
    """
    right = correct(labels, logits)
    return np.array([right[labels == k].mean() for k in range(logits.shape[1])])


def brier_scores(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Squared distance of the probabilities from the one-hot label, (N,), in [0, 2].

    Summed over all classes, as in Brier, "Verification of forecasts expressed in terms of
    probability", Monthly Weather Review 78, 1950.
    """
    distances = softmax(logits)
    distances[np.arange(len(labels)), labels] -= 1
    scores: NDArray[np.float64] = np.square(distances).sum(axis=1)
    return scores


def log_losses(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Negative logarithm of the label's probability in nats, (N,), at least 0."""
    logarithms: NDArray[np.float64] = special.log_softmax(logits.astype(np.float64), axis=1)
    return -logarithms[np.arange(len(labels)), labels]


def calibration_gaps(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Correctness minus confidence of each volume, in the column of its bin, (N, 15).

    The absolute column means sum to the expected calibration error in [0, 1]: Guo et al., "On
    calibration of modern neural networks", ICML 2017, equation 3, with 15 equal bins of the largest
    probability, each open on its left.
    """
    confidence = softmax(logits).max(axis=1)
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    gaps = np.zeros((len(labels), CALIBRATION_BINS))
    gaps[np.arange(len(labels)), bins] = correct(labels, logits) - confidence
    return gaps


def flip_rate(clean: Logits, perturbed: Logits) -> float | None:
    """Share of volumes in [0, 1] whose predicted class changed; None without volumes.

    Args:
        clean: (N, K).
        perturbed: (N, K), of the same volumes in the same order.
    """
    if len(clean) == 0:
        return None
    return float((predicted_classes(clean) != predicted_classes(perturbed)).mean())


def _check(labels: Labels, logits: Logits) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise BenchError(
            "metrics need labels (N,) and logits (N, K) with K ≥ 2, got "
            f"{labels.shape} and {logits.shape}. Give one label and one row of logits per volume."
        )
    if not np.isfinite(logits).all():
        raise BenchError(
            f"metrics need finite logits, got {int((~np.isfinite(logits)).sum())} that are not. "
            "Give the raw output of a network that did not fail."
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise BenchError(
            f"labels must lie in 0..{logits.shape[1] - 1}, got {labels.min()}..{labels.max()}. "
            "Give the logits of a network with one output per class."
        )
