"""Whether what a user gets of a member is right, marked, refused, or a slip."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

from benchharness.store import matrix_checks
from tests.masking.truth import FILE
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.masking.measure import Measured, Number, Seen

TOLERANCE = 0.05
"""By which a number may exceed the truth."""

LOWER_BOUND = frozenset(
    {
        "volumes and losses finite",
        "iterations and restarts run",
        "loss not below its start",
    }
)
"""Checks that fail below their bound; all others fail above it."""

AT_BOUND = frozenset(
    {
        "output is logits, not probabilities",
        matrix_checks.BLACK_BOX,
        matrix_checks.BUDGET,
        matrix_checks.STEPS,
        matrix_checks.NOISE,
        matrix_checks.OTHERS,
        matrix_checks.CONTAINED,
    }
)
"""Checks that fail at their bound already."""


@cache
def truths() -> dict[str, dict[str, float]]:
    """Of every member, the accuracy that is right for clean volumes (`""`) and at each budget."""
    members = json.loads(FILE.read_text(encoding="utf-8"))["members"]
    return {
        name: {
            "": found["clean"],
            **{
                budget: value["accuracy"]
                for budget, value in found.items()
                if isinstance(value, dict)
            },
        }
        for name, found in members.items()
    }


def verdict(number: Number, truth: float) -> str:
    """`refused`, `marked`, `right` or `slips`."""
    if number.accuracy is None:
        return "refused"
    if number.reasons:
        return "marked"
    return "right" if number.accuracy <= truth + TOLERANCE + 1e-9 else "slips"


def is_wrong(measured: Measured, number: Number) -> bool:
    """Whether a number that the rule is about would mislead if it stood."""
    if not number.judged:
        return False
    truth = truths()[measured.name][number.budget]
    return number.accuracy is None or number.accuracy > truth + TOLERANCE + 1e-9


def judged(measured: Measured) -> Iterator[tuple[Number, str]]:
    """The numbers that the rule is about, with their verdicts; once each per suite."""
    truth = truths()[measured.name]
    for number in measured.numbers:
        if number.judged:
            yield number, verdict(number, truth[number.budget])


def faults(measured: Measured) -> list[str]:
    """What breaks the rule, in words; empty where all is well."""
    if ZOO[measured.name].rule == "honest":
        return [
            f"{_place(measured, number)} is marked: {number.reasons}"
            for number in measured.numbers
            if is_false_alarm(measured, number)
        ]
    truth = truths()[measured.name]
    return [
        f"{_place(measured, number)} is {number.accuracy:.3f}, unmarked; the truth is at most "
        f"{truth[number.budget]:.3f}"
        for number, what in judged(measured)
        if what == "slips"
    ]


def is_false_alarm(measured: Measured, number: Number) -> bool:
    """Whether an honest network is refused, or marked although its number is right.

    A weak attack on an honest network gives a wrong number too, and a mark on that is right: the
    cross-entropy of tiny logits, say, is not what decides.
    """
    if number.accuracy is None:
        return True
    if not number.reasons:
        return False
    known = truths().get(measured.name)
    if known is None or not number.judged:
        return True
    return number.accuracy <= known[number.budget] + TOLERANCE + 1e-9


def _place(measured: Measured, number: Number) -> str:
    return f"{measured.name}, {number.suite}, {number.condition}"


def failed_checks(measured: Measured) -> tuple[str, ...]:
    """Names of the checks that failed anywhere."""
    return tuple(dict.fromkeys(one.name for one in measured.checks if one.verdict == "failed"))


def worst(checks: Iterable[Seen]) -> dict[str, Seen]:
    """Of each check, the place where it came nearest to its bound or went furthest beyond."""
    by_name: dict[str, list[Seen]] = defaultdict(list)
    for one in checks:
        if one.verdict != "not applicable":
            by_name[one.name].append(one)
    return {name: max(found, key=excess) for name, found in by_name.items()}


def excess(check: Seen) -> float:
    """How far a value is beyond its bound; negative where it is within."""
    if check.value is None or check.bound is None:
        return float("inf") if check.verdict == "failed" else float("-inf")
    beyond = check.value - check.bound
    if check.name in LOWER_BOUND:
        beyond = -beyond
    # Values of one check are compared with each other alone, so the unit does not matter.
    return beyond if check.verdict == "passed" else abs(beyond) + 1e9
