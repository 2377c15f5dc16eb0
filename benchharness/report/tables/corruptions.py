"""What artefacts do to each model, as tables and as `corruption.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from benchharness.report.cells.score import Score
from benchharness.report.scoring.conditions import inapplicable, marked
from benchharness.report.scoring.harm import ALL, PLAUSIBLE, harms
from benchharness.report.tables.layout import Line, Table, score_table
from benchharness.statistics.corruption import HEADINGS
from benchharness.store import reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.harm import Harm
    from benchharness.statistics.corruption import Value

_MEANS = {
    "ce": "mCE",
    "relative_ce": "Relative mCE",
    "balanced_ce": "Balanced mCE",
    "relative_balanced_ce": "Relative balanced mCE",
}
"""The headings of ratios that are means."""


def summary(findings: Findings, dataset: str) -> Table:
    """Means over artefacts: over those that the modality can produce, and over all."""
    lines = []
    for harm in harms(findings, dataset):
        for over in (PLAUSIBLE, ALL):
            fields = tuple(_score(value) for value in harm.means(over).values())
            names = (harm.label, f"{over} ({harm.count(over)})")
            lines.append(Line(names=names, fields=fields))
    return score_table(
        f"Corruption measures of {dataset}",
        ("Model", "Artefacts", *(_MEANS.get(name, text) for name, text in HEADINGS.items())),
        lines,
        caption=f"Means over artefacts, each averaged over its levels. Plausible artefacts are "
        "those that acquisition in this modality can produce; the others are stress tests. "
        f"Artefacts that change no voxel here enter no mean. {_explanation(findings, dataset)}",
    )


def by_artefact(findings: Findings, dataset: str) -> Table:
    """The same measures for each artefact."""
    lines = []
    for harm in harms(findings, dataset):
        for name, own in harm.artefacts.items():
            shown = marked(name, plausible=harm.plausible[name])
            fields = tuple(_score(value) for value in own.values())
            lines.append(Line(names=(harm.label, shown), fields=fields))
        for name in harm.inapplicable:
            gap = inapplicable([name])
            lines.append(Line(names=(harm.label, name), fields=(gap,) * len(HEADINGS)))
    return score_table(
        f"Corruption measures of {dataset} by artefact",
        ("Model", "Artefact", *HEADINGS.values()),
        lines,
        caption=_explanation(findings, dataset),
    )


def frame(findings: Findings) -> pd.DataFrame:
    """One line for each model, dataset and artefact, and for each mean."""
    lines = [
        line
        for dataset in findings.datasets
        for harm in harms(findings, dataset)
        for line in _lines(harm)
    ]
    columns = ["model", "dataset", "seed", "artefacts", "plausible", *HEADINGS, "undefined"]
    return pd.DataFrame(lines, columns=columns)


def _lines(harm: Harm) -> Iterator[dict[str, object]]:
    groups = [(name, name, own) for name, own in harm.artefacts.items()]
    groups += [("", f"mean over {over}", harm.means(over)) for over in (PLAUSIBLE, ALL)]
    for artefact, over, own in groups:
        reasons = dict.fromkeys(f"{name}: {why}" for name, (_, why) in own.items() if why)
        yield {
            "model": harm.subject.model,
            "dataset": harm.subject.dataset,
            "seed": harm.seed,
            "artefacts": over,
            "plausible": harm.plausible.get(artefact),
            **{name: value for name, (value, _) in own.items()},
            "undefined": "; ".join(reasons) or None,
        }


def _explanation(findings: Findings, dataset: str) -> str:
    key = findings.of(dataset)[0].record.cell.dataset
    known = reference.find(key)
    if known is None:
        found = f"{reference.MODEL}, has no committed predictions on this dataset."
    else:
        weights: Mapping[str, object] = known.card["checkpoint"]
        found = (
            f"{reference.MODEL} (weights {str(weights['sha256'])[:8]}, predictions "
            f"{str(known.card['sha256'])[:8]}), scores 1."
        )
    return (
        "CE (corruption error) is the ratio of the summed errors to the reference's; relative CE "
        "is the same for the errors added to the clean error. Balanced versions take 1 − balanced "
        f"accuracy as the error. The reference, {found} The other columns are absolute: mean "
        "error, drop in AUC, share of changed predictions, and calibration."
    )


def _score(value: Value) -> Score:
    number, reason = value
    return Score(gap=reason) if number is None else Score(value=number, remark=reason)
