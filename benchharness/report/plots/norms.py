"""Accuracy over ε as attacks without a budget give it: the share of volumes that needs more."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.parts import slug
from benchharness.report.plots.canvas import ACROSS, Sheet, heading, look, render
from benchharness.report.scoring.norms import attacks as attacks_of
from benchharness.report.scoring.norms import needed
from benchharness.report.scoring.subjects import subjects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.parts import Plot


def norms(findings: Findings, dataset: str, family: str, *, pdf: bool = False) -> Plot:
    """A curve for each model, a panel for each attack of a family that reports norms."""
    return render(sheet(findings, dataset, family), pdf=pdf)


def sheet(findings: Findings, dataset: str, family: str) -> Sheet[str]:
    """`norms` before they are rendered."""
    attacks = attacks_of(findings, dataset, family)
    models = [subject.model for subject in subjects(findings, dataset, each=False)]
    return Sheet(
        name=f"norms_{slug(dataset)}_{slug(family)}",
        title=f"Accuracy by the norm needed, {findings.title(family)}, {dataset}",
        caption="Share of volumes that are classified correctly and whose class the attack could "
        "not change within ε. The axis ends at the 95th percentile of the norms.",
        looks=tuple(look(findings, model) for model in models),
        panels=attacks,
        across=min(ACROSS, len(attacks)),
        draw=partial(_draw, findings, dataset),
        label=lambda _: "Accuracy",
    )


def _draw(findings: Findings, dataset: str, axes: Axes, attack: str) -> None:
    largest = 0.0
    for subject in subjects(findings, dataset, each=False):
        colour = look(findings, subject.model).colour
        for found in needed(findings, subject, attack):
            reached = found.norms[np.isfinite(found.norms)]
            limits = np.unique(np.concatenate([[0.0], reached]))
            largest = max(largest, float(np.quantile(limits, 0.95)))
            axes.step(limits * 255, found.robust_accuracy(limits), where="post", color=colour)
    heading(axes, attack)
    axes.set_xlim(0, 1.02 * largest * 255 or 1)
    axes.set_xlabel("ε × 255")
