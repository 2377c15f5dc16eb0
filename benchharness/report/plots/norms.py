"""Accuracy over ε as attacks without a budget give it: the share of volumes that needs more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.cells import names
from benchharness.report.cells.score import Score
from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import look
from benchharness.report.parts import slug
from benchharness.report.scoring.norms import attacks as attacks_of
from benchharness.report.scoring.norms import needed
from benchharness.report.scoring.subjects import subjects

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings


def norms(findings: Findings, dataset: str, family: str) -> Chart:
    """A curve for each model, a panel for each attack of a family that reports norms."""
    attacks = attacks_of(findings, dataset, family)
    models = [subject.model for subject in subjects(findings, dataset, each=False)]
    return Chart(
        name=f"norms_{slug(dataset)}_{slug(family)}",
        title=f"Accuracy by the norm needed, {findings.title(family)}, {dataset}",
        caption="Share of volumes that are classified correctly and whose class the attack could "
        "not change within ε. The axis ends at the 95th percentile of the norms.",
        kind="steps",
        looks=tuple(look(findings, model) for model in models),
        panels=tuple(_panel(findings, dataset, attack) for attack in attacks),
        across=len(attacks),
    )


def _panel(findings: Findings, dataset: str, attack: str) -> Panel:
    largest, marks = 0.0, []
    for subject in subjects(findings, dataset, each=False):
        for seed, found in zip(subject.seeds, needed(findings, subject, attack), strict=False):
            reached = found.norms[np.isfinite(found.norms)]
            limits = np.unique(np.concatenate([[0.0], reached]))
            largest = max(largest, float(np.quantile(limits, 0.95)))
            shares = found.robust_accuracy(limits)
            marks += [
                Mark(
                    model=subject.model,
                    x=float(limit) * 255,
                    score=Score(value=float(share)),
                    where=names.perturbation(attack),
                    seed=seed if len(subject.seeds) > 1 else None,
                )
                for limit, share in zip(limits, shares, strict=True)
            ]
    return Panel(
        title=names.perturbation(attack),
        x=Axis(title="ε × 255", low=0.0, high=1.02 * largest * 255 or 1.0),
        y="Accuracy",
        marks=tuple(marks),
    )
