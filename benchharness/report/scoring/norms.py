"""The norms that attacks without a budget need to change a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.store.predictions import MINIMAL_NORM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needed:
    """The norms of one cell, in the units of its severity."""

    label: str
    norms: NDArray[np.float64]
    """Shape (N,), 0 where misclassified when clean, infinite where nothing was found."""

    def robust_accuracy(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of volumes that need more than each ε in `limits`."""
        return (self.norms[None, :] > limits[:, None]).mean(1)  # type: ignore[no-any-return]


def attacks(findings: Findings, dataset: str, family: str) -> tuple[str, ...]:
    """Attacks of a family that report the norm they needed."""
    found = (row for row in findings.of(dataset) if row.family == family and _has_norms(row))
    return tuple(dict.fromkeys(row.perturbation for row in found))


def needed(findings: Findings, subject: Subject, attack: str) -> tuple[Needed, ...]:
    """The norms of each training seed.

    The search has no budget, so every ε of an attack finds the same norms; the largest is taken.
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
            found.append(Needed(label=subject.named(seed), norms=_norms(row)))
    return tuple(found)


def _has_norms(row: Row) -> bool:
    return row.predictions is not None and MINIMAL_NORM in row.predictions.extra


def _norms(row: Row) -> NDArray[np.float64]:
    assert row.predictions is not None
    norms = row.predictions.extra[MINIMAL_NORM].astype(np.float64)
    return np.where(row.predictions.extra["found"] > 0, norms, np.inf)
