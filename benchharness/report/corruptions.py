"""What artefacts do to each model: corruption errors against the reference, and beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd

from benchharness.report import scores
from benchharness.report.collect import CLEAN, Score
from benchharness.report.layout import Line, Table, score_table
from benchharness.statistics import corruption
from benchharness.statistics.corruption import HEADINGS
from benchharness.store import reference
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.report.collect import Findings, Row
    from benchharness.report.scores import Condition, Subject
    from benchharness.statistics.corruption import Value
    from benchharness.store.predictions import Predictions
    from benchharness.store.reference import Reference

PLAUSIBLE = "plausible"
ALL = "all"

_MEANS = {
    "ce": "mCE",
    "relative_ce": "Relative mCE",
    "balanced_ce": "Balanced mCE",
    "relative_balanced_ce": "Relative balanced mCE",
}
"""What the ratios are called once they are means."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Harm:
    """The measures of one network on one dataset."""

    subject: Subject
    seed: int | None
    artefacts: dict[str, dict[str, Value]]
    """By artefact; only those that apply to the dataset."""
    plausible: dict[str, bool | None]
    """By artefact."""
    inapplicable: tuple[str, ...]
    """Artefacts that change no voxel of the dataset at any level."""

    def means(self, over: str) -> dict[str, Value]:
        """Means over the plausible artefacts or over all."""
        return corruption.means(
            {
                name: own
                for name, own in self.artefacts.items()
                if over == ALL or self.plausible[name]
            }
        )

    def count(self, over: str) -> int:
        """How many artefacts a mean is over."""
        return sum(over == ALL or bool(self.plausible[name]) for name in self.artefacts)


@lru_cache(maxsize=8)
def harms(findings: Findings, dataset: str) -> tuple[Harm, ...]:
    """Every network that met artefacts on a dataset, each training seed by itself."""
    found = (
        _harm(findings, subject, seed)
        for subject in scores.subjects(findings, dataset, each=False)
        for seed in subject.seeds
    )
    return tuple(harm for harm in found if harm.artefacts or harm.inapplicable)


def summary(findings: Findings, dataset: str) -> Table:
    """Means over artefacts: over those that the modality can produce, and over all."""
    lines = []
    for harm in harms(findings, dataset):
        for over in (PLAUSIBLE, ALL):
            fields = tuple(_score(value) for value in harm.means(over).values())
            names = (_label(harm), f"{over} ({harm.count(over)})")
            lines.append(Line(names=names, fields=fields))
    return score_table(
        f"Corruption measures of {dataset}",
        ("Model", "Artefacts", *(_MEANS.get(name, text) for name, text in HEADINGS.items())),
        lines,
        caption=f"Means over artefacts, each over its levels. {_explanation(findings, dataset)} "
        "Plausible are the artefacts that acquisition of this modality can produce; the others are "
        "stress tests. Artefacts that change no voxel here are in no mean.",
    )


def by_artefact(findings: Findings, dataset: str) -> Table:
    """The same measures for each artefact."""
    lines = []
    for harm in harms(findings, dataset):
        for name, own in harm.artefacts.items():
            shown = scores.marked(name, plausible=harm.plausible[name])
            fields = tuple(_score(value) for value in own.values())
            lines.append(Line(names=(_label(harm), shown), fields=fields))
        for name in harm.inapplicable:
            gap = Score(gap=f"{NOT_APPLICABLE}: {name} changes no voxel here")
            lines.append(Line(names=(_label(harm), name), fields=(gap,) * len(HEADINGS)))
    return score_table(
        f"Corruption measures of {dataset} by artefact",
        ("Model", "Artefact", *HEADINGS.values()),
        lines,
        caption=_explanation(findings, dataset),
    )


def frame(findings: Findings) -> pd.DataFrame:
    """One line for each model, dataset and artefact, and for each mean, as `corruption.csv`."""
    lines = []
    for dataset in findings.datasets:
        for harm in harms(findings, dataset):
            groups = [(name, name, own) for name, own in harm.artefacts.items()]
            groups += [("", f"mean over {over}", harm.means(over)) for over in (PLAUSIBLE, ALL)]
            for artefact, over, own in groups:
                line: dict[str, object] = {
                    "model": harm.subject.model,
                    "dataset": dataset,
                    "seed": harm.seed,
                    "artefacts": over,
                    "plausible": harm.plausible.get(artefact),
                }
                line |= {name: value for name, (value, _) in own.items()}
                reasons = dict.fromkeys(f"{name}: {why}" for name, (_, why) in own.items() if why)
                lines.append(line | {"undefined": "; ".join(reasons) or None})
    columns = ["model", "dataset", "seed", "artefacts", "plausible", *HEADINGS, "undefined"]
    return pd.DataFrame(lines, columns=columns)


def _harm(findings: Findings, subject: Subject, seed: int | None) -> Harm:
    dataset = subject.dataset
    groups: dict[str, tuple[Condition, ...]] = {}
    for family in findings.families(dataset):
        own = tuple(c for c in scores.conditions(findings, dataset, family) if not c.attack)
        groups |= scores.by_perturbation(own)
    clean = findings.find(dataset, subject.model, seed, CLEAN)
    found: dict[str, dict[str, Value]] = {}
    inapplicable = []
    for name, wanted in groups.items():
        if all(condition.inapplicable for condition in wanted):
            inapplicable.append(name)
            continue
        found[name] = _measures(findings, subject, seed, wanted, clean)
    return Harm(
        subject=subject,
        seed=seed,
        artefacts=found,
        plausible={name: wanted[0].plausible for name, wanted in groups.items()},
        inapplicable=tuple(inapplicable),
    )


def _measures(
    findings: Findings,
    subject: Subject,
    seed: int | None,
    wanted: Sequence[Condition],
    clean: Row | None,
) -> dict[str, Value]:
    rows = scores.gather(findings, subject, seed, wanted)
    if isinstance(rows, Score):
        return dict.fromkeys(HEADINGS, (None, rows.gap))
    if clean is None or clean.predictions is None:
        return dict.fromkeys(HEADINGS, (None, "clean volumes not run"))
    corrupted = [row.predictions for row in rows if row.predictions is not None]
    known = reference.find(clean.record.cell.dataset)
    if known is None:
        lacking = f"no reference of {reference.MODEL} on {subject.dataset} is committed"
        return corruption.measures(clean.predictions, corrupted, None, (), lacking=lacking)
    others, lacking = _reference(known, [clean, *rows])
    if lacking:
        return corruption.measures(clean.predictions, corrupted, None, (), lacking=lacking)
    return corruption.measures(clean.predictions, corrupted, others[0], others[1:])


def _reference(known: Reference, rows: Sequence[Row]) -> tuple[list[Predictions], str]:
    answers = []
    for row in rows:
        assert row.predictions is not None
        answer, reason = known.predictions(row.record.cell.perturbation, row.predictions.ids)
        if answer is None:
            return [], reason
        answers.append(answer)
    return answers, ""


def _explanation(findings: Findings, dataset: str) -> str:
    key = findings.of(dataset)[0].record.cell.dataset
    known = reference.find(key)
    if known is None:
        named = f"{reference.MODEL}, of which no predictions on this dataset are committed"
    else:
        weights: Mapping[str, object] = known.card["checkpoint"]
        named = (
            f"{reference.MODEL} (weights {str(weights['sha256'])[:8]}, "
            f"predictions {str(known.card['sha256'])[:8]})"
        )
    return (
        f"Relative to {named}: CE divides summed errors, relative CE what they add to the clean "
        "error; 1 is the reference. Balanced: on 1 − balanced accuracy. Unnormalised beside "
        "them: mean error, mean fall of the AUC, share of changed predictions, calibration."
    )


def _label(harm: Harm) -> str:
    several = len(harm.subject.seeds) > 1
    return f"{harm.subject.model}, seed {harm.seed}" if several else harm.subject.label


def _score(value: Value) -> Score:
    number, reason = value
    return Score(gap=reason) if number is None else Score(value=number, remark=reason)
