"""What artefacts do to each network: corruption measures, against the reference and alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from benchharness.report.cells.score import Score
from benchharness.report.scoring.conditions import by_perturbation, conditions
from benchharness.report.scoring.scores import gather
from benchharness.report.scoring.subjects import subjects
from benchharness.statistics import corruption
from benchharness.statistics.corruption import HEADINGS
from benchharness.store import reference
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject
    from benchharness.statistics.corruption import Value
    from benchharness.store.predictions import Predictions
    from benchharness.store.reference import Reference

PLAUSIBLE = "plausible"
"""Means over the artefacts that the dataset's acquisition can produce."""
ALL = "all"
"""Means over all artefacts that apply to the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Harm:
    """The measures of one network on one dataset."""

    subject: Subject
    seed: int | None
    artefacts: dict[str, dict[str, Value]]
    """By artefact; only those that apply to the dataset."""
    plausible: dict[str, bool | None]
    """By artefact, whether the dataset's acquisition can produce it; None where unknown."""
    inapplicable: tuple[str, ...]
    """Artefacts that change no voxel of the dataset at any level."""

    @property
    def label(self) -> str:
        """The network as tables name it."""
        return self.subject.named(self.seed)

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
    """Every network that met artefacts on a dataset, one for each training seed."""
    found = (
        _harm(findings, subject, seed)
        for subject in subjects(findings, dataset, each=False)
        for seed in subject.seeds
    )
    return tuple(harm for harm in found if harm.artefacts or harm.inapplicable)


def _harm(findings: Findings, subject: Subject, seed: int | None) -> Harm:
    dataset = subject.dataset
    artefacts = by_perturbation(
        condition
        for family in findings.families(dataset)
        for condition in conditions(findings, dataset, family)
        if not condition.attack
    )
    applicable = {
        name: own
        for name, own in artefacts.items()
        if not all(condition.inapplicable for condition in own)
    }
    clean = findings.find(dataset, subject.model, seed, CLEAN_FAMILY)
    return Harm(
        subject=subject,
        seed=seed,
        artefacts={
            name: _measures(findings, subject, seed, own, clean) for name, own in applicable.items()
        },
        plausible={name: own[0].plausible for name, own in artefacts.items()},
        inapplicable=tuple(name for name in artefacts if name not in applicable),
    )


def _measures(
    findings: Findings,
    subject: Subject,
    seed: int | None,
    wanted: Sequence[Condition],
    clean: Row | None,
) -> dict[str, Value]:
    rows = gather(findings, subject, seed, wanted)
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
