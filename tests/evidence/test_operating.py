"""Operating points: frozen on validation volumes, whatever the test volumes are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import statistics
from benchharness.evidence.operating import NOTHING_KEPT, frozen
from tests.evidence.conftest import WithVal, claim
from tests.factories import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.evidence.gathering import Evidence

    Gather = Callable[..., Evidence]

LABELS = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
SCORES = (0.05, 0.1, 0.2, 0.3, 0.6, 0.25, 0.5, 0.7, 0.8, 0.9)
CELL = WithVal(n=40, val_labels=LABELS, val_scores=SCORES)


def sensitivity(point: str) -> str:
    return claim(metric='"sensitivity"', operating_point=point)


@pytest.mark.parametrize(
    ("point", "threshold"),
    [
        # Four of five positives lie above 0.3 to 0.5: the highest such threshold is their middle.
        ("{ sensitivity = 0.8 }", 0.4),
        ("{ sensitivity = 0.9 }", 0.225),
        # Four of five negatives lie at or below 0.3.
        ("{ specificity = 0.8 }", 0.4),
        ("{ specificity = 0.9 }", 0.65),
        ("{ threshold = 0.33 }", 0.33),
        ('"youden"', 0.4),
    ],
)
def test_thresholds_worked_out_by_hand(evidence: Gather, point: str, threshold: float) -> None:
    (outcome,) = evidence([CELL], sensitivity(point)).outcomes
    assert outcome.threshold == pytest.approx(threshold, abs=1e-6)


@pytest.mark.parametrize("point", ["{ sensitivity = 0.8 }", "{ specificity = 0.9 }", '"youden"'])
def test_other_test_labels_do_not_move_it(evidence: Gather, point: str) -> None:
    shuffled = np.random.Generator(np.random.PCG64(3)).permutation(np.arange(40) % 2).tolist()
    other = replace(CELL, labels=shuffled, weights="other")
    first, second = (evidence([c], sensitivity(point)).outcomes[0] for c in (CELL, other))
    assert first.threshold == second.threshold
    assert first.judged[0].found.value != second.judged[0].found.value


def test_given_shares_hold_on_val_for_scores_of_any_kind() -> None:
    draws = np.random.Generator(np.random.PCG64(4))
    for _ in range(50):
        positive = draws.permutation(np.arange(30) < 12)
        scores = np.round(draws.random(30), 1).clip(0.05, 0.95)  # many ties
        share = float(draws.uniform(0.05, 0.99))
        high = frozen(positive, scores, "sensitivity", share)
        assert (scores[positive] > high).mean() >= share - 1e-9
        low = frozen(positive, scores, "specificity", share)
        assert (scores[~positive] <= low).mean() >= share - 1e-9


def test_youden_is_the_rule_of_the_report() -> None:
    positive, scores = np.asarray(LABELS) == 1, np.asarray(SCORES)
    assert statistics.frozen_threshold(positive, scores) == pytest.approx(0.4)


def test_runs_that_kept_no_validation_volumes_have_youden_alone(evidence: Gather) -> None:
    old = Made(n=40, thresholds=[0.5, 0.45])
    assert evidence([old], sensitivity('"youden"')).outcomes[0].threshold == 0.45
    (outcome,) = evidence([old], sensitivity("{ sensitivity = 0.9 }")).outcomes
    (one,) = outcome.judged
    assert (outcome.threshold, one.verdict, one.found.gap) == (None, "not shown", NOTHING_KEPT)


def test_validation_volumes_of_one_class_give_no_threshold(evidence: Gather) -> None:
    cell = WithVal(n=40, val_labels=(1, 1), val_scores=(0.4, 0.6))
    (outcome,) = evidence([cell], sensitivity("{ sensitivity = 0.9 }")).outcomes
    assert "all of class 1" in outcome.judged[0].found.gap
    assert outcome.verdict == "not shown"
