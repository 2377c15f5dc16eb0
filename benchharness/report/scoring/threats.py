"""What a worst case is of: each norm's attacks up to their largest budget, and the artefacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.report.scoring.conditions import conditions
from benchharness.store import evidence
from benchharness.store.cells import TRANSFER_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.conditions import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """Conditions of which the worst counts."""

    family: str
    """The family of the attacks; empty for artefacts, which count together."""
    wanted: tuple[Condition, ...]
    """Of attacks those that have a budget."""
    limit: float | None
    """The attacks' largest budget; None for artefacts."""
    witnessed: bool
    """Whether other cells of a checkpoint may have broken volumes within the budget."""


def threats(findings: Findings, dataset: str) -> Iterator[Threat]:
    """Those of a dataset: a threat for each family of attacks, then the artefacts.

    Volumes from another network are no threat of their own; they count as witnesses. Artefacts
    that the dataset's scanners cannot make do not count.
    """
    artefacts: list[Condition] = []
    for family in findings.families(dataset):
        wanted = conditions(findings, dataset, family)
        if not wanted[0].attack:
            artefacts += [c for c in wanted if c.plausible is not False and not c.inapplicable]
            continue
        ranged = tuple(one for one in wanted if one.severity is not None)
        limits = [one.severity for one in ranged if one.severity]
        if family != TRANSFER_FAMILY and limits:
            yield Threat(
                family=family,
                wanted=ranged,
                limit=max(limits),
                witnessed=family in evidence.BALLS and findings.witnessed(dataset),
            )
    if artefacts:
        yield Threat(family="", wanted=tuple(artefacts), limit=None, witnessed=False)
