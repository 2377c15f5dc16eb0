"""Average precision: the area under the curve of precision over recall, and what chance gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics.metrics import absent_classes, softmax

if TYPE_CHECKING:
    from benchharness.statistics.metrics import Labels, Logits


def average_precision(labels: Labels, logits: Logits) -> tuple[float, float] | None:
    """Average precision, Σ (R_n − R_{n−1}) P_n, and the prevalence that chance gives.

    Of two classes it is that of the second; of more the mean over classes, each against the rest.
    Volumes with the same score share a threshold.

    Args:
        labels: (N,), 0..K−1.
        logits: (N, K).

    Returns:
        Both in [0, 1]; None where a class has no volume.
    """
    from sklearn.metrics import average_precision_score

    classes = logits.shape[1]
    if absent_classes(labels, classes):
        return None
    chances = softmax(logits)
    wanted = [1] if classes == 2 else range(classes)
    found = [average_precision_score(labels == k, chances[:, k]) for k in wanted]
    prevalence = [float((labels == k).mean()) for k in wanted]
    return float(np.mean(found)), float(np.mean(prevalence))
