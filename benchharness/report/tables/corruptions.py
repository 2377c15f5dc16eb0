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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    groups = [(harm, over) for harm in harms(findings, dataset) for over in (PLAUSIBLE, ALL)]
    means = [harm.means(over) for harm, over in groups]
    headings = _headings(means)
    lines = [
        Line(
            names=(harm.label, f"{over} ({harm.count(over)})"),
            fields=tuple(_score(own[name]) for name in headings),
        )
        for (harm, over), own in zip(groups, means, strict=True)
    ]
    return score_table(
        f"Corruption measures of {dataset}",
        ("Model", "Artefacts", *(_MEANS.get(name, text) for name, text in headings.items())),
        lines,
        caption="Means over artefacts, each averaged over its levels. Plausible artefacts are "
        "those that acquisition in this modality can produce; the others are stress tests. "
        "Artefacts that change no voxel here enter no mean. "
        + _explanation(findings, dataset, means, headings),
        kinds=("corruption",),
    )


def by_artefact(findings: Findings, dataset: str) -> Table:
    """The same measures for each artefact."""
    found = harms(findings, dataset)
    measured = [own for harm in found for own in harm.artefacts.values()]
    headings = _headings(measured)
    lines = []
    for harm in found:
        for name, own in harm.artefacts.items():
            shown = marked(name, plausible=harm.plausible[name])
            fields = tuple(_score(own[heading]) for heading in headings)
            lines.append(Line(names=(harm.label, shown), fields=fields, about=name))
        for name in harm.inapplicable:
            gaps = (inapplicable([name]),) * len(headings)
            lines.append(Line(names=(harm.label, name), fields=gaps, about=name))
    return score_table(
        f"Corruption measures of {dataset} by artefact",
        ("Model", "Artefact", *headings.values()),
        lines,
        caption=_explanation(findings, dataset, measured, headings),
        kinds=("artefacts",),
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


def _headings(found: Iterable[Mapping[str, Value]]) -> dict[str, str]:
    """The measures that have columns: a ratio without any value has none."""
    known = {name for own in found for name, (value, _) in own.items() if value is not None}
    return {name: text for name, text in HEADINGS.items() if name in known or name not in _MEANS}


def _explanation(
    findings: Findings, dataset: str, found: Sequence[Mapping[str, Value]], headings: Iterable[str]
) -> str:
    absent = [name for name in _MEANS if name not in headings]
    absolute = "absolute: mean error, drop in AUC, share of changed predictions, and calibration."
    if len(absent) == len(_MEANS):
        return f"The columns are {absolute} {_missing(found, absent)}"
    known = reference.find(findings.of(dataset)[0].record.cell.dataset)
    assert known is not None
    weights: Mapping[str, object] = known.card["checkpoint"]
    text = (
        "CE (corruption error) is the ratio of the summed errors to the reference's; relative CE "
        "is the same for the errors added to the clean error. Balanced versions take 1 − balanced "
        f"accuracy as the error. The reference, {reference.MODEL} (weights "
        f"{str(weights['sha256'])[:8]}, predictions {str(known.card['sha256'])[:8]}), scores 1. "
        f"The other columns are {absolute}"
    )
    return f"{text} {_missing(found, absent)}" if absent else text


def _missing(found: Iterable[Mapping[str, Value]], absent: Sequence[str]) -> str:
    """Which ratios are left out and why, and what makes a reference for them."""
    reasons = dict.fromkeys(own[name][1] for own in found for name in absent)
    said = "; ".join([reason for reason in reasons if reason][:3])
    names = ", ".join(HEADINGS[name] for name in absent)
    return (
        f"Left out, as there is no value: {names} ({said or 'no artefact applies'}). "
        f"'bench reference' makes the reference from a run of {reference.MODEL}."
    )


def _score(value: Value) -> Score:
    number, reason = value
    return Score(gap=reason) if number is None else Score(value=number, remark=reason)
