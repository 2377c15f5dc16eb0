"""Which cells a condition covers, their worst case, and where a claim ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.evidence import worst
from tests.evidence.conftest import claim
from tests.factories import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.evidence.gathering import Evidence

    Gather = Callable[..., Evidence]

BASE = Made(correct=[True] * 60, n=60)


def motion(level: int, wrong: range) -> Made:
    right = [index not in wrong for index in range(60)]
    return replace(BASE, perturbation="motion", severity=level, correct=right)


def test_every_volume_counts_as_the_cell_that_treats_it_worst(evidence: Gather) -> None:
    cells = [BASE, motion(1, range(3)), motion(2, range(2, 9)), motion(3, range(30, 60))]
    wanted = claim(condition='{ artefacts = 2, only = ["motion"] }')
    (outcome,) = evidence(cells, wanted).outcomes
    assert [row.condition for row in outcome.covered.rows] == [
        "clean",
        "motion level 1",
        "motion level 2",
    ]
    assert outcome.judged[0].found.value == pytest.approx(51 / 60)


def test_levels_that_were_not_run_are_missing(evidence: Gather) -> None:
    wanted = claim(condition='{ artefacts = 3, only = ["motion", "blur"] }')
    (outcome,) = evidence([BASE, motion(1, range(0)), motion(3, range(0))], wanted).outcomes
    assert outcome.covered.missing == (
        "motion level 2",
        "blur level 1",
        "blur level 2",
        "blur level 3",
    )


def test_plausible_artefacts_are_those_of_the_modality_run_or_not(evidence: Gather) -> None:
    (outcome,) = evidence([BASE], claim(condition="{ artefacts = 1 }")).outcomes
    assert "affine level 1" in outcome.covered.missing
    assert "motion level 1" not in outcome.covered.missing  # no shape mask moves in a scanner


def test_attacks_within_the_ball_count_and_stronger_ones_do_not(evidence: Gather) -> None:
    attack = replace(BASE, perturbation="pgd", severity=4 / 255, access="white box")
    cells = [BASE, attack, replace(attack, severity=8 / 255, correct=[False] * 60)]
    wanted = claim(condition='{ attacks = "4/255", norm = "linf" }')
    (outcome,) = evidence(cells, wanted).outcomes
    assert [row.condition for row in outcome.covered.rows] == ["clean", "pgd 4/255"]
    assert outcome.verdict == "met"
    (one,) = outcome.judged
    assert one.crossings == ("attacks in L∞: between ε = 4/255 and ε = 8/255",)


def test_what_the_probe_breaks_counts_though_it_takes_some_volumes_only(evidence: Gather) -> None:
    attack = replace(BASE, perturbation="pgd", severity=8 / 255, access="white box")
    probe = replace(
        attack,
        perturbation="probe",
        n=10,
        first=20,
        correct=[False] * 4 + [True] * 6,
        access="both",
    )
    wanted = claim(condition='{ attacks = "8/255", norm = "linf" }', bound="0.8")
    (outcome,) = evidence([BASE, attack, probe], wanted).outcomes
    assert outcome.covered.missing == ()
    assert outcome.judged[0].found.value == pytest.approx(56 / 60)


def test_a_claim_on_clean_volumes_says_where_it_ends_along_everything_run(evidence: Gather) -> None:
    attack = replace(BASE, perturbation="pgd", severity=4 / 255, access="white box")
    (outcome,) = evidence([BASE, attack], claim()).outcomes
    assert outcome.judged[0].crossings == (
        "attacks in L∞: not up to ε = 4/255",
        "attacks in L2: not up to ε = 4/255",
    )
    (outcome,) = evidence([replace(BASE, correct=[False] * 60), attack], claim()).outcomes
    assert outcome.judged[0].crossings[0] == "attacks in L∞: below it when clean"


def test_for_one_class_a_positive_takes_its_lowest_score_and_a_negative_its_highest(
    evidence: Gather,
) -> None:
    draws = np.random.Generator(np.random.PCG64(2))
    first, second = draws.normal(size=(2, 60, 3))
    cells = [
        replace(BASE, classes=3, logits=first),
        replace(BASE, classes=3, logits=second, perturbation="motion", severity=1),
    ]
    wanted = claim(metric='"auc"', class_="2", condition='{ artefacts = 1, only = ["motion"] }')
    found = evidence(cells, wanted)
    rows = found.outcomes[0].covered.rows
    joined = worst.worst(rows, 2)
    chances = [
        np.exp(own.astype(np.float32))[:, 2] / np.exp(own.astype(np.float32)).sum(axis=1)
        for own in (first, second)
    ]
    odds = [np.log(p / (1 - p)) for p in chances]
    positive = np.arange(60) % 3 == 2
    expected = np.where(positive, np.minimum(*odds), np.maximum(*odds))
    assert np.allclose(joined.logits[:, 1], expected, atol=1e-4)
    alone = [worst.worst((row,), 2) for row in rows]
    from sklearn.metrics import roc_auc_score

    worst_area = roc_auc_score(positive, joined.logits[:, 1])
    assert found.outcomes[0].judged[0].found.value == pytest.approx(worst_area)
    assert worst_area <= min(roc_auc_score(positive, one.logits[:, 1]) for one in alone)


def test_a_class_must_be_there_and_named_where_there_are_several(evidence: Gather) -> None:
    cells = [replace(BASE, classes=3)]
    wanted = claim(metric='"specificity"', operating_point='"youden"')
    with pytest.raises(BenchError, match="needs a class where there are 3; type class = one of 0"):
        evidence(cells, wanted)
    with pytest.raises(BenchError, match="class got 3; type one of 0 to 2"):
        evidence(cells, claim(metric='"auc"', class_="3"))


def test_one_network_is_meant(evidence: Gather) -> None:
    cells = [BASE, replace(BASE, model="medvit3d_n")]
    with pytest.raises(
        BenchError, match=r"these fit: medvit3d_n · .*; resnet3d_18 · .*\[subject\]"
    ):
        evidence(cells, claim())
    chosen = evidence(cells, '[subject]\nmodel = "medvit3d_n"\n' + claim())
    assert chosen.measured.cell.model.name == "medvit3d_n"
    with pytest.raises(BenchError, match=r"fits no network of the run\. It holds"):
        evidence(cells, '[subject]\nmodel = "x"\n' + claim())
    with pytest.raises(BenchError, match=r"the clean cell of .* was not run"):
        evidence([motion(1, range(0))], claim())
