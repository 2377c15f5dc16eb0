"""The norms that attacks without a budget need: their median and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness.report.scoring.norms import attacks, needed
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.layout import DASH, Entry, Table, text_table
from benchharness.report.tables.numbers import decimals, fixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.report.cells.findings import Findings


def table(findings: Findings, dataset: str, family: str) -> Table:
    """Median norm with its 95 % interval, of each model and attack."""
    lines = []
    for subject in subjects(findings, dataset, each=False):
        for attack in attacks(findings, dataset, family):
            for found in needed(findings, subject, attack):
                reached = np.isfinite(found.norms).mean()
                broken = Entry(text=fixed(float(reached), decimals(float(reached))), order=reached)
                lines.append((found.label, attack, _median(found.norms), broken))
    return text_table(
        f"Norm needed to change the class on {dataset}, {findings.title(family)}",
        ("Model", "Attack", "Median × 255 (95 % interval)", "Broken at any norm"),
        lines,
        caption="Over all volumes, 0 for those misclassified when clean. Intervals of the median "
        "follow from order statistics and the binomial distribution. "
        "∞: not broken at any norm.",
        kinds=("norms", family),
        about=tuple(attack for _, attack, *_ in lines),
    )


def _median(norms: NDArray[np.float64]) -> Entry:
    interval = stats.quantile_test(norms, p=0.5).confidence_interval(0.95)
    middle, low, high = np.median(norms), interval.low, interval.high
    text = f"{_text(middle)} [{_text(low)}, {_text(high)}]"
    return Entry(text=text, order=None if np.isnan(middle) else float(middle) * 255)


def _text(norm: float) -> str:
    return DASH if np.isnan(norm) else fixed(float(norm) * 255, 2)
