"""AUC over the number of labelled volumes: from each source, and from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import numbered
from benchharness.report.parts import slug
from benchharness.report.plots.guessing import CAPTION, chance
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import (
    any_carried,
    arms,
    counts,
    differing,
    fine_tuned,
    stands,
)
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand


def curves(findings: Findings) -> Iterator[Chart]:
    """A chart for each target with two numbers of shots or more."""
    if not any_carried(findings):
        return
    for target in findings.datasets:
        few = fine_tuned(stands(findings, target))
        if len(counts(few)) > 1:
            yield _chart(findings, target, few)


def _chart(findings: Findings, target: str, few: Sequence[Stand]) -> Chart:
    """A panel for each network, a line for each source."""
    names = tuple(dict.fromkeys(stand.name for stand in few))
    shots = counts(few)
    axis = Axis(
        title="Labelled volumes of the target",
        low=-0.2,
        high=len(shots) - 0.8,
        ticks=tuple((float(place), str(count)) for place, count in enumerate(shots)),
    )
    return Chart(
        name=f"shots_{slug(target)}",
        title=f"AUC over labelled volumes of {target}",
        caption="From the weights of each source, and from scratch with the same volumes; its own "
        "labels are all of them. Bars are 95 % confidence intervals."
        f"{differing(few)} {CAPTION}",
        kind="lines",
        looks=tuple(numbered(place, _label(key, few)) for place, key in enumerate(arms(few))),
        panels=tuple(
            Panel(
                title=name,
                x=axis,
                y="AUC",
                marks=tuple(_marks(findings, few, name, shots)),
                chance=chance(findings, target, "auc"),
            )
            for name in names
        ),
        across=max(1, len(names)),
    )


def _marks(
    findings: Findings, few: Sequence[Stand], name: str, shots: Sequence[int | str]
) -> Iterator[Mark]:
    for key, own in arms([one for one in few if one.name == name]).items():
        for place, count in enumerate(shots):
            if count in own:
                score = scores.single(findings, own[count].subject, CLEAN_FAMILY, "auc")
                yield Mark(
                    model=_label(key, few), x=float(place), score=score, where=f"{count} volumes"
                )


def _label(key: tuple[str, str, str], few: Sequence[Stand]) -> str:
    """A source, with its recipe and selection where several lines start from it."""
    alone = sum(other[0] == key[0] for other in arms(few)) == 1
    return key[0] if alone else ", ".join(part for part in key if part)
