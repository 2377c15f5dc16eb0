"""Groups: patients resampled, small ones named, the worst one and its gap, Holm over all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import statistics
from benchharness.errors import BenchError
from benchharness.evidence import subgroups, worst
from benchharness.evidence.measuring import Estimate
from benchharness.evidence.populations import Group
from tests.evidence.conftest import claim
from tests.factories import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.evidence.gathering import Evidence

    Gather = Callable[..., Evidence]

N = 120
SITES = ["Graz" if (index // 2) % 3 == 0 else "Bern" for index in range(N)]
AGES = [str(30 + index // 2) for index in range(N)]
BY_SITE = '[groups]\ncolumns = ["site"]\n'
# Two volumes a patient, both right or both wrong; Graz is often wrong, Bern seldom.
RIGHT = [
    (index // 2) % 9 != 0 if SITES[index] == "Graz" else (index // 2) % 20 != 1
    for index in range(N)
]
CELL = Made(n=N, correct=RIGHT, patients=2)
COLUMNS = {"site": SITES, "age": AGES}


def test_repeated_volumes_of_a_patient_widen_the_bounds(evidence: Gather) -> None:
    found = evidence([CELL], claim()).outcomes[0].judged[0].found
    alone = evidence([replace(CELL, patients=None)], claim()).outcomes[0].judged[0].found
    assert (found.size, found.unit, alone.size, alone.unit) == (60, "patients", N, "volumes")
    assert found.value == alone.value
    assert None not in (found.low, found.high, alone.low, alone.high)
    assert found.high - found.low > 1.2 * (alone.high - alone.low)  # type: ignore[operator]


def test_a_claim_on_each_group_is_judged_group_by_group(evidence: Gather) -> None:
    wanted = claim(population='"each site"', bound="0.8")
    (outcome,) = evidence([CELL], wanted, groups=BY_SITE, columns=COLUMNS).outcomes
    assert [(str(one.group), one.verdict) for one in outcome.judged] == [
        ("site Bern", "met"),
        ("site Graz", "not met" if outcome.judged[1].found.high < 0.8 else "not shown"),  # type: ignore[operator]
    ]
    assert outcome.verdict == outcome.judged[1].verdict
    only = claim(population='{ site = "Bern" }', bound="0.8")
    (outcome,) = evidence([CELL], only, groups=BY_SITE, columns=COLUMNS).outcomes
    assert outcome.verdict == "met"
    assert outcome.judged[0].found.size == 40


def test_not_met_of_one_of_several_groups_needs_a_surer_bound(evidence: Gather) -> None:
    # 30 of 60 lie below 0.6 with 95 %, and not with 97.5 %, which two groups ask for.
    right = [index % 2 == 0 for index in range(N)]
    columns = {"site": ["a"] * 60 + ["b"] * 60}
    wanted = claim(population='"each site"', bound="0.61")
    cell = Made(n=N, correct=right)
    (outcome,) = evidence([cell], wanted, groups=BY_SITE, columns=columns).outcomes
    assert outcome.judged[0].found.high < 0.61  # type: ignore[operator]
    assert [one.verdict for one in outcome.judged] == ["not shown", "not shown"]
    (outcome,) = evidence([cell], claim(bound="0.61")).outcomes
    assert outcome.verdict == "not met"


def test_bands_and_small_groups_are_named(evidence: Gather) -> None:
    groups = "[groups]\nsmallest = 20\n[groups.bands]\nage = [40, 80]\n"
    found = evidence([CELL], claim(), groups=groups, columns=COLUMNS)
    named = [(group.name, group.size, group.small) for group in found.groups["age"]]
    assert named == [
        ("40 to below 80", 40, False),
        ("80 and above", 10, True),
        ("below 40", 10, True),
    ]
    blank = {"age": ["", *AGES[1:]]}
    found = evidence([CELL], claim(), groups=groups, columns=blank)
    assert "not stated" in [group.name for group in found.groups["age"]]


def test_columns_and_groups_that_are_not_there_are_refused(evidence: Gather) -> None:
    with pytest.raises(BenchError, match=r"unknown column 'stie'\. Did you mean 'site'"):
        evidence([CELL], claim(), groups='[groups]\ncolumns = ["stie"]\n', columns=COLUMNS)
    wanted = claim(population='{ site = "Wien" }')
    with pytest.raises(BenchError, match=r"unknown group of site 'Wien'.* Known: Bern, Graz"):
        evidence([CELL], wanted, groups=BY_SITE, columns=COLUMNS)
    with pytest.raises(BenchError, match=r"groups\.bands cuts site, and 'Graz' is no number"):
        evidence([CELL], claim(), groups="[groups.bands]\nsite = [1]\n", columns=COLUMNS)


def test_the_gap_is_the_one_of_zou_and_donner() -> None:
    group = Group(column="site", name="a", members=np.ones(1, bool), size=1, unit="volumes")
    own = Estimate(value=0.7, low=0.6, high=0.78)
    other = Estimate(value=0.9, low=0.86, high=0.93)
    gap = subgroups.between("accuracy", group, own, other)
    assert gap.value == pytest.approx(-0.2)
    assert gap.low == pytest.approx(-0.2 - np.hypot(0.1, 0.03))
    assert gap.high == pytest.approx(-0.2 + np.hypot(0.08, 0.04))


def test_the_permutation_test_finds_a_gap_and_no_gap() -> None:
    members = np.arange(80) < 40
    labels = np.arange(80) % 2
    right = np.where(members, np.arange(80) % 4 != 0, True)
    logits = np.zeros((80, 2))
    logits[np.arange(80), np.where(right, labels, 1 - labels)] = 1.0
    sample = worst.Sample(labels=labels, logits=logits)
    small = subgroups.permuted("accuracy", sample, None, members, None)
    assert 0 < small < 0.01
    even = worst.Sample(labels=labels, logits=np.roll(logits, 0))
    assert subgroups.permuted("accuracy", even, None, np.arange(80) % 8 < 4, None) > 0.3
    # Forty volumes of four patients say less than forty patients.
    patients = np.asarray([f"p{index // 10}" for index in range(80)])
    assert subgroups.permuted("accuracy", sample, None, members, patients) > small


def test_every_metric_is_given_by_group_and_p_is_adjusted_by_holm(
    evidence: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([0.01, 0.04, *[0.5] * 100])
    raw: list[float] = []

    def pretended(*_: object) -> float:
        raw.append(next(given))
        return raw[-1]

    monkeypatch.setattr(subgroups, "permuted", pretended)
    cell = replace(CELL, thresholds=[0.5, 0.5])
    columns = COLUMNS | {"sex": ["f" if index % 4 < 2 else "m" for index in range(N)]}
    groups = '[groups]\ncolumns = ["site", "sex"]\n'
    (found,) = evidence([cell], claim(), groups=groups, columns=columns).subgroups
    assert [str(group) for group, _ in found.rows] == [
        "all",
        "site Bern",
        "site Graz",
        "sex f",
        "sex m",
    ]
    metrics = ["accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity"]
    assert all(list(row) == metrics for _, row in found.rows)
    adjusted = [gap.p_adjusted for gap in found.gaps if gap.metric == "accuracy"]
    assert adjusted == pytest.approx(statistics.holm(raw[:4]))
    assert adjusted[0] == pytest.approx(0.04)
    worst_ones = [str(g.group) for g in found.gaps if g.worst and g.metric == "accuracy"]
    assert worst_ones[0] == "site Graz"


def test_a_small_group_is_worst_only_where_its_column_has_no_other(evidence: Gather) -> None:
    sites = ["tiny" if index < 4 else SITES[index] for index in range(N)]
    cell = replace(CELL, correct=[index >= 4 and RIGHT[index] for index in range(N)])
    (found,) = evidence([cell], claim(), groups=BY_SITE, columns={"site": sites}).subgroups
    accuracy = {str(gap.group): gap for gap in found.gaps if gap.metric == "accuracy"}
    assert min(accuracy, key=lambda name: accuracy[name].value) == "site tiny"
    assert [name for name, gap in accuracy.items() if gap.worst] == ["site Bern"]
    large = [row["accuracy"].value for group, row in found.rows[1:] if not group.small]
    assert large == sorted(large)  # Bern is the lowest of those that are large
