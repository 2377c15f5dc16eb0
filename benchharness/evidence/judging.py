"""Claims × what was measured → judged claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.evidence import conditions, operating, populations, verdicts, worst
from benchharness.evidence.claims import Condition, Point
from benchharness.evidence.measuring import Estimate, estimate
from benchharness.store.cells import format_budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.evidence.claims import Claim
    from benchharness.evidence.conditions import Covered
    from benchharness.evidence.populations import Group
    from benchharness.evidence.subject import Measured
    from benchharness.evidence.verdicts import Verdict

YOUDEN = Point(rule="youden")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One claim for one group of volumes."""

    group: Group
    found: Estimate
    verdict: Verdict
    decides: int | None
    """Patients or volumes that would decide; None where that is not the question."""
    crossings: tuple[str, ...]
    """In words, at which severity the lower bound falls below the limit, by perturbation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a claim."""

    claim: Claim
    covered: Covered
    threshold: float | None
    """The frozen threshold; None where the metric has none or none could be frozen."""
    judged: tuple[Judged, ...]
    """By group of its population."""

    @property
    def verdict(self) -> Verdict:
        """Of the whole claim: every group must meet the bound."""
        return verdicts.worst_of(one.verdict for one in self.judged)


def judge(claim: Claim, measured: Measured, groups: dict[str, tuple[Group, ...]]) -> Outcome:
    """Judge a claim.

    In a population of several groups each is judged at the claim's confidence. All must meet the
    bound, so this needs no adjustment: the chance that the whole claim is met wrongly is no larger
    than for one group. "Not met" of any of m groups is found at 1 − (1 − confidence)/m.

    Raises:
        BenchError: When the claim names a class or a group that is not there.
    """
    label = worst.class_of(claim, measured.classes)
    covered = conditions.covered(measured, claim.condition)
    threshold, gap = None, ""
    if claim.point is not None:
        assert label is not None
        threshold, gap = operating.threshold(measured, label, claim.point)
    own = populations.chosen(claim.population, populations.everyone(measured), groups)
    judging = _Judging(claim, measured, label, threshold, gap, len(own))
    return Outcome(
        claim=claim,
        covered=covered,
        threshold=threshold,
        judged=tuple(judging.judged(group, covered) for group in own),
    )


@dataclass(frozen=True, slots=True)
class _Judging:
    """What the groups of a claim share."""

    claim: Claim
    measured: Measured
    label: int | None
    threshold: float | None
    gap: str
    """Why there is no threshold."""
    groups: int

    def estimate(self, group: Group, covered: Covered, confidence: float) -> Estimate:
        if self.gap:
            return Estimate(gap=self.gap, size=group.size, unit=group.unit)
        return estimate(
            worst.worst(covered.rows, self.label),
            group.members,
            self.measured.patients,
            self.claim.metric,
            threshold=self.threshold,
            confidence=confidence,
        )

    def judged(self, group: Group, covered: Covered) -> Judged:
        claim = self.claim
        found = self.estimate(group, covered, claim.confidence)
        doubted = bool(covered.missing or covered.suspect)
        verdict = verdicts.verdict(found, claim.bound, doubted=doubted)
        if verdict == "not met" and self.groups > 1:
            surer = self.estimate(group, covered, 1 - (1 - claim.confidence) / self.groups)
            verdict = verdicts.verdict(surer, claim.bound, doubted=True)
        return Judged(
            group=group,
            found=found,
            verdict=verdict,
            decides=verdicts.deciding(found, claim.bound) if verdict == "not shown" else None,
            crossings=tuple(self.crossings(group)),
        )

    def crossings(self, group: Group) -> Iterator[str]:
        """Where the lower bound falls below the limit, along every kind of severity."""
        for condition in _axes(self.claim.condition):
            severities = list(conditions.steps(self.measured, condition))
            if severities:
                yield f"{_axis(condition)}: {self._crossing(group, condition, severities)}"

    def _crossing(self, group: Group, condition: Condition, severities: Sequence[float]) -> str:
        held = "clean"
        for severity in (None, *severities):
            at = (
                Condition(kind="clean")
                if severity is None
                else replace(condition, severity=severity)
            )
            found = self.estimate(
                group, conditions.covered(self.measured, at), self.claim.confidence
            )
            if found.low is None:
                return "no interval"
            if found.low < self.claim.bound:
                return (
                    "below it when clean"
                    if severity is None
                    else (f"between {held} and {_severity(condition, severity)}")
                )
            held = held if severity is None else _severity(condition, severity)
        return f"not up to {held}"


def _axes(condition: Condition) -> tuple[Condition, ...]:
    """The kinds of severity to follow: the claim's own, or every one for clean volumes."""
    if condition.kind != "clean":
        return (condition,)
    return (
        Condition(kind="artefacts", severity=5),
        Condition(kind="attacks", severity=1, norm="linf"),
        Condition(kind="attacks", severity=1, norm="l2"),
    )


def _axis(condition: Condition) -> str:
    named = ", ".join(condition.only)
    if condition.kind == "artefacts":
        return named or "plausible artefacts"
    return f"{named or 'attacks'} in {'L∞' if condition.norm == 'linf' else 'L2'}"


def _severity(condition: Condition, severity: float) -> str:
    if condition.kind == "artefacts":
        return f"level {severity:g}"
    return f"ε = {format_budget(severity)}"
