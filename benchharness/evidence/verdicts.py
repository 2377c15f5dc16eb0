"""Verdicts: a bound against an interval, and how many patients would decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchharness.evidence.measuring import Estimate

    Verdict = Literal["met", "not met", "not shown"]

ORDER: tuple[Verdict, ...] = ("not met", "not shown", "met")
"""From the worst to the best."""


def verdict(found: Estimate, bound: float, *, doubted: bool) -> Verdict:
    """Judge "at least `bound`" by the one-sided bounds of a number.

    Met where the lower one is at or above the bound. Not met where the upper one is below it. Not
    shown where the two straddle it, and where there is no interval.

    Args:
        found: The number; its worst case only falls with what is missing from it.
        bound: In (0, 1].
        doubted: Whether a cell is missing or suspect. The claim is then not met or not shown: what
            the cells left out could only make the number worse.
    """
    if found.low is None or found.high is None:
        return "not shown"
    if found.high < bound:
        return "not met"
    return "met" if found.low >= bound and not doubted else "not shown"


def worst_of(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over several groups: all must meet the bound."""
    return min(verdicts, key=ORDER.index, default="not shown")


def deciding(found: Estimate, bound: float) -> int | None:
    """How many patients or volumes would decide a claim that is not shown, were the value kept.

    The distance d from the value to the end of its interval on the side of the bound shrinks as
    1/√n. It is as small as the gap g between value and bound at n·(d/g)². By then a sample whose
    value is the one seen decides; the values of new samples scatter, so about half of them do.

    Returns:
        None where the value is the bound, where there is no interval, and where it does not
        straddle the bound.
    """
    if found.value is None or found.low is None or found.high is None:
        return None
    gap = found.value - bound
    reach = found.value - found.low if gap > 0 else found.high - found.value
    if gap == 0 or reach < abs(gap):
        return None
    return math.ceil(found.size * (reach / abs(gap)) ** 2)
