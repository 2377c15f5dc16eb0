"""AUC over the number of labelled volumes: from each source, and from scratch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchharness.report.parts import slug
from benchharness.report.plots.canvas import ACROSS, Sheet, heading, line, look, render
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import any_carried, stands
from benchharness.report.tables.sources import arms, counts
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.parts import Plot
    from benchharness.report.plots.canvas import Look
    from benchharness.report.scoring.carried import Stand


def curves(findings: Findings, *, pdf: bool = False) -> Iterator[Plot]:
    """A figure for each target with two numbers of shots or more."""
    if not any_carried(findings):
        return
    for target in findings.datasets:
        few = [one for one in stands(findings, target) if one.carried and one.carried.shots]
        if len(counts(few)) > 1:
            yield render(sheet(findings, target, few), pdf=pdf)


def sheet(findings: Findings, target: str, few: Sequence[Stand]) -> Sheet[str]:
    """The same before it is rendered: a panel for each network."""
    names = tuple(dict.fromkeys(stand.name for stand in few))
    looks: dict[str, Look] = {}
    for stand in few:
        looks.setdefault(stand.arm, replace(look(findings, stand.subject.model), model=stand.arm))
    return Sheet(
        name=f"shots_{slug(target)}",
        title=f"AUC over labelled volumes of {target}",
        caption="From the weights of each source, and from scratch with the same volumes. Bands "
        "are 95 % confidence intervals.",
        looks=tuple(looks.values()),
        panels=names,
        across=max(1, min(ACROSS, len(names))),
        draw=partial(_draw, findings, few, looks),
        label=lambda _: "AUC",
    )


def _draw(
    findings: Findings, few: Sequence[Stand], looks: Mapping[str, Look], axes: Axes, name: str
) -> None:
    shots = counts(few)
    for (arm, *_), own in arms([stand for stand in few if stand.name == name]).items():
        points = [
            (float(place), scores.single(findings, own[count].subject, CLEAN_FAMILY, "auc"))
            for place, count in enumerate(shots)
            if count in own
        ]
        line(axes, looks[arm], points, faint=False)
    heading(axes, name)
    axes.set_xticks(range(len(shots)), [str(count) for count in shots])
    axes.set_xlabel("Labelled volumes of the target")
