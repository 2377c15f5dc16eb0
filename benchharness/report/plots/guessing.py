"""What a classifier reaches that does not look at the volume: the chance line of charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Metric

CAPTION = "Dotted: chance (the commonest class, or an AUC of 0.5)."


def chance(findings: Findings, dataset: str | None, metric: Metric) -> float | None:
    """The metric of always answering the commonest class of a dataset; None over several."""
    if metric == "auc":
        return 0.5
    found = (row.predictions for row in findings.rows if row.dataset == dataset)
    known = next((predictions for predictions in found if predictions is not None), None)
    if known is None:
        return None
    counts = np.bincount(known.labels, minlength=known.logits.shape[1])
    if metric == "balanced_accuracy":
        return 1 / int((counts > 0).sum())
    return float(counts.max() / counts.sum())
