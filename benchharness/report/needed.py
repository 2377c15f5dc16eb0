"""The norm that attacks without a budget needed: median, interval and curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness.report import scores
from benchharness.report.layout import DASH, Table, text_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.report.collect import Findings, Row
    from benchharness.report.scores import Subject

FINDING = "minimal_norm"
"""What such an attack keeps with its predictions: the norm of the nearest volume it found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needed:
    """The norms of one cell, in the unit of its severity."""

    label: str
    norms: NDArray[np.float64]
    """(N,): 0 where misclassified already, infinite where nothing was found."""

    def standing(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of volumes that need more than each limit: robust accuracy over ε."""
        return (self.norms[None, :] > limits[:, None]).mean(1)  # type: ignore[no-any-return]


def attacks(findings: Findings, dataset: str, family: str) -> tuple[str, ...]:
    """Attacks of a family that report the norm they needed."""
    found = (row for row in findings.of(dataset) if row.family == family and _has_norms(row))
    return tuple(dict.fromkeys(row.perturbation for row in found))


def needed(findings: Findings, subject: Subject, attack: str) -> tuple[Needed, ...]:
    """The norms of each training seed.

    The search knows no budget, so every ε of an attack found the same: the largest is taken.
    """
    found = []
    for seed in subject.seeds:
        rows = [
            row
            for row in findings.of(subject.dataset)
            if (row.model, row.seed, row.perturbation) == (subject.model, seed, attack)
            and _has_norms(row)
        ]
        if rows:
            row = max(rows, key=lambda row: row.severity or 0)
            label = subject.label if len(subject.seeds) == 1 else f"{subject.model}, seed {seed}"
            found.append(Needed(label=label, norms=_norms(row)))
    return tuple(found)


def table(findings: Findings, dataset: str, family: str) -> Table:
    """Median norm with its 95 % interval, of each model and attack."""
    lines = []
    for subject in scores.subjects(findings, dataset, each=False):
        for attack in attacks(findings, dataset, family):
            for found in needed(findings, subject, attack):
                reached = np.isfinite(found.norms).mean()
                lines.append((found.label, attack, _median(found.norms), f"{reached:.3f}"))
    return text_table(
        f"Norm needed to change the class on {dataset}, {findings.title(family)}",
        ("Model", "Attack", "Median × 255 (95 % interval)", "Broken at any norm"),
        lines,
        caption="Over all volumes, 0 for those that are wrong when clean. The interval is that of "
        "the binomial distribution of order statistics.",
    )


def _median(norms: NDArray[np.float64]) -> str:
    interval = stats.quantile_test(norms, p=0.5).confidence_interval(0.95)
    middle, low, high = np.median(norms), interval.low, interval.high
    return f"{_text(middle)} [{_text(low)}, {_text(high)}]"


def _text(norm: float) -> str:
    return f"{norm * 255:.2f}" if np.isfinite(norm) else DASH


def _has_norms(row: Row) -> bool:
    return row.predictions is not None and FINDING in row.predictions.extra


def _norms(row: Row) -> NDArray[np.float64]:
    assert row.predictions is not None
    norms = row.predictions.extra[FINDING].astype(np.float64)
    return np.where(row.predictions.extra["found"] > 0, norms, np.inf)
