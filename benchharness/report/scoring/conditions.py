"""Conditions: the perturbations and severities that the models of a dataset met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.report.cells.score import Score
from benchharness.store.cells import CLEAN_FAMILY, format_severity, severity_order
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchharness.report.cells.findings import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A perturbation at a severity, as some model of a dataset met it."""

    label: str
    """Both in words: `pgd 8/255`, `motion level 3`, `clean`."""
    perturbation: str
    attack: bool
    severity: float | None
    severity_text: str
    plausible: bool | None = None
    """For an artefact, whether the dataset's acquisition can produce it; None where unknown."""
    inapplicable: bool = False
    """Whether it changes no voxel of the dataset."""

    @property
    def order(self) -> tuple[str, tuple[bool, float]]:
        """Sorts by perturbation, then by severity."""
        return (self.perturbation, severity_order(self.severity))


UNPERTURBED = Condition(
    label=CLEAN_FAMILY, perturbation=CLEAN_FAMILY, attack=False, severity=0.0, severity_text=""
)


def conditions(findings: Findings, dataset: str, family: str) -> tuple[Condition, ...]:
    """What some model of a dataset met of a family, by perturbation and severity."""
    return findings.once(
        ("conditions", dataset, family), lambda: _conditions(findings, dataset, family)
    )


def _conditions(findings: Findings, dataset: str, family: str) -> tuple[Condition, ...]:
    rows = [row for row in findings.of(dataset) if row.family == family]
    plausible = {row.perturbation: row.plausible for row in rows if row.plausible is not None}
    found = {
        Condition(
            label=row.condition,
            perturbation=row.perturbation,
            attack=row.key.kind == "attack",
            severity=row.severity,
            severity_text=format_severity(row.key),
            plausible=plausible.get(row.perturbation),
            inapplicable=bool(row.record.inapplicable),
        )
        for row in rows
    }
    return tuple(sorted(found, key=lambda condition: condition.order))


def by_perturbation(conditions: Iterable[Condition]) -> dict[str, tuple[Condition, ...]]:
    """Conditions of each perturbation, in the order given."""
    groups: dict[str, tuple[Condition, ...]] = {}
    for condition in conditions:
        groups[condition.perturbation] = (*groups.get(condition.perturbation, ()), condition)
    return groups


def grid(conditions: Iterable[Condition]) -> dict[str, float | None]:
    """Severities in words and in numbers, from the weakest to the strongest."""
    found = {condition.severity_text: condition.severity for condition in conditions}
    return dict(sorted(found.items(), key=lambda item: severity_order(item[1])))


def marked(name: str, *, plausible: bool | None) -> str:
    """An artefact's name, with a mark where the dataset's acquisition cannot produce it."""
    return f"{name} (stress test)" if plausible is False else name


def inapplicable(names: Iterable[str]) -> Score:
    """The gap of perturbations that change no voxel of a dataset."""
    listed = list(dict.fromkeys(names))
    verb = "changes" if len(listed) == 1 else "change"
    return Score(gap=f"{NOT_APPLICABLE}: {', '.join(listed)} {verb} no voxel here")
