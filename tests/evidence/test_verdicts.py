"""Verdicts against cases worked out by hand, and what makes a claim not shown."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from scipy.stats import norm

from benchharness.evidence.measuring import Estimate
from benchharness.evidence.verdicts import deciding, verdict, worst_of
from tests.evidence.conftest import claim
from tests.factories import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.evidence.gathering import Evidence

    Gather = Callable[..., Evidence]


def wilson(k: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's one-sided bounds by his formula, written out."""
    z = norm.ppf(confidence)
    middle = (k + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return middle - reach, middle + reach


def clean(right: int, n: int = 100) -> Made:
    return Made(correct=[index < right for index in range(n)], n=n)


def test_bounds_are_the_one_sided_ones_of_wilson(evidence: Gather) -> None:
    (outcome,) = evidence([clean(90)], claim()).outcomes
    found = outcome.judged[0].found
    low, high = wilson(90, 100, 0.95)
    assert (found.value, found.size, found.unit) == (0.9, 100, "volumes")
    assert (found.low, found.high) == pytest.approx((low, high))
    assert low == pytest.approx(0.8396, abs=1e-4)


@pytest.mark.parametrize(
    ("bound", "said"), [("0.83", "met"), ("0.88", "not shown"), ("0.95", "not met")]
)
def test_ninety_of_a_hundred_meet_83_and_not_95(evidence: Gather, bound: str, said: str) -> None:
    (outcome,) = evidence([clean(90)], claim(bound=bound)).outcomes
    assert outcome.verdict == said


def test_a_bound_that_is_reached_exactly_is_met_and_one_touched_from_below_is_not_shown() -> None:
    found = Estimate(value=0.9, low=0.85, high=0.95, size=100)
    assert verdict(found, 0.85, doubted=False) == "met"
    assert verdict(found, math.nextafter(0.85, 1), doubted=False) == "not shown"
    assert verdict(found, 0.95, doubted=False) == "not shown"
    assert verdict(found, math.nextafter(0.95, 1), doubted=False) == "not met"


def test_doubt_takes_a_met_claim_and_leaves_one_that_is_not_met() -> None:
    found = Estimate(value=0.9, low=0.85, high=0.95, size=100)
    assert verdict(found, 0.8, doubted=True) == "not shown"
    assert verdict(found, 0.99, doubted=True) == "not met"


def test_all_groups_must_meet_the_bound() -> None:
    assert worst_of(["met", "met"]) == "met"
    assert worst_of(["met", "not shown"]) == "not shown"
    assert worst_of(["met", "not met", "not shown"]) == "not met"
    assert worst_of([]) == "not shown"


def test_how_many_would_decide_follows_from_the_distances() -> None:
    # 0.05 to the bound's side against a gap of 0.02: (0.05/0.02)² = 6.25 times as many.
    above = Estimate(value=0.9, low=0.85, high=0.93, size=100)
    assert deciding(above, 0.88) == 625
    below = Estimate(value=0.86, low=0.8, high=0.9, size=100)
    assert deciding(below, 0.88) == 400
    assert deciding(above, 0.9) is None
    assert deciding(above, 0.8) is None


def test_with_so_many_volumes_the_claim_is_decided(evidence: Gather) -> None:
    (outcome,) = evidence([clean(90)], claim(bound="0.86")).outcomes
    (one,) = outcome.judged
    assert one.verdict == "not shown"
    assert one.decides is not None
    n = one.decides
    more = [index < round(0.9 * n) for index in range(n)]
    (again,) = evidence([Made(correct=more, n=n)], claim(bound="0.86")).outcomes
    assert again.verdict == "met"


ATTACK = Made(perturbation="pgd", severity=8 / 255, access="white box", correct=[True] * 80, n=80)
UNTIL_8 = '{ attacks = "8/255", norm = "linf" }'


def attacked(**changes: object) -> list[Made]:
    base = Made(correct=[True] * 80, n=80)
    return [base, replace(ATTACK, **changes)]  # type: ignore[arg-type]


def test_a_suspect_cell_lets_no_claim_be_met(evidence: Gather) -> None:
    (outcome,) = evidence(attacked(), claim(condition=UNTIL_8)).outcomes
    assert outcome.verdict == "met"
    suspect = attacked(failed_check="it is masked")
    (outcome,) = evidence(suspect, claim(condition=UNTIL_8)).outcomes
    assert outcome.verdict == "not shown"
    assert "it is masked" in outcome.covered.suspect[0]


def test_a_suspect_cell_does_not_save_a_claim_that_is_not_met(evidence: Gather) -> None:
    cells = attacked(failed_check="it is masked", correct=[False] * 80)
    (outcome,) = evidence(cells, claim(condition=UNTIL_8)).outcomes
    assert outcome.verdict == "not met"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"severity": 4 / 255}, "an attack along the gradient at 8/255 in linf"),
        ({"access": "black box"}, "an attack along the gradient at 8/255 in linf"),
        ({"error": "out of memory"}, "pgd 8/255 (failed: out of memory)"),
        ({"n": 40, "correct": [True] * 40}, "pgd 8/255 (measured on 40 other volumes)"),
    ],
)
def test_what_was_not_measured_is_named_and_nothing_is_met(
    evidence: Gather, changes: dict[str, object], said: str
) -> None:
    (outcome,) = evidence(attacked(**changes), claim(condition=UNTIL_8)).outcomes
    assert outcome.verdict == "not shown"
    assert said in outcome.covered.missing


def test_a_tiny_group_and_volumes_of_one_class_are_not_shown(evidence: Gather) -> None:
    (outcome,) = evidence([Made(correct=[True, True], n=2)], claim(bound="0.9")).outcomes
    assert outcome.verdict == "not shown"
    alone = Made(correct=[True] * 30, n=30, labels=[0] * 30, thresholds=[0.5, 0.5])
    wanted = claim(metric='"sensitivity"', operating_point="{ threshold = 0.5 }")
    (outcome,) = evidence([alone], wanted).outcomes
    (one,) = outcome.judged
    assert (one.verdict, one.found.gap) == (
        "not shown",
        "no volume counts: all are of one class",
    )
