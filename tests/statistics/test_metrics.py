"""Point metrics against `medmnist.Evaluator`'s own functions and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from medmnist.evaluator import getACC, getAUC
from sklearn.metrics import balanced_accuracy_score, log_loss

from benchharness.errors import BenchError
from benchharness.statistics import metrics

KINDS = ("plain", "tied", "confident", "constant")


def _draw(num_classes: int, kind: str, n: int = 300, seed: int = 0):
    generator = np.random.default_rng([seed, num_classes])
    labels = generator.integers(0, num_classes, n)
    logits = generator.normal(size=(n, num_classes))
    logits[np.arange(n), labels] += 1
    if kind == "tied":
        logits = np.round(logits)
    if kind == "confident":
        logits *= 40
    if kind == "constant":
        logits[:] = 0.25
    return labels, logits.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [2, 3, 11])
class TestAgainstTheEvaluator:
    def test_accuracy_and_auc_are_its_own_to_the_last_bit(self, num_classes, kind):
        labels, logits = _draw(num_classes, kind)
        task = "binary-class" if num_classes == 2 else "multi-class"
        scores = metrics.softmax(logits)
        values, undefined = metrics.compute(labels, logits)
        assert values["accuracy"] == getACC(labels[:, None], scores, task)
        assert values["auc"] == getAUC(labels[:, None], scores, task)
        assert undefined == {}

    def test_the_others_are_those_of_scikit_learn(self, num_classes, kind):
        labels, logits = _draw(num_classes, kind)
        values, _ = metrics.compute(labels, logits)
        predicted = metrics.predicted_classes(logits)
        assert values["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(labels, predicted)
        )
        scores = metrics.softmax(logits)
        onehot = np.eye(num_classes)[labels]
        assert values["brier"] == pytest.approx(np.square(scores - onehot).sum() / len(labels))
        if scores[np.arange(len(labels)), labels].min() > 1e-15:  # beyond, log_loss clips
            assert values["nll"] == pytest.approx(log_loss(labels, scores))


def test_two_equal_logits_are_class_0_as_the_evaluator_has_it():
    logits = np.zeros((1, 2), dtype=np.float32)
    assert metrics.predicted_classes(logits).tolist() == [0]
    assert metrics.predicted_classes(np.zeros((1, 3), dtype=np.float32)).tolist() == [0]


def test_confident_volumes_that_float32_would_tie_are_told_apart():
    logits = np.array([[0, 20], [0, 25]], dtype=np.float32)
    assert np.unique(metrics.softmax(logits)[:, 1]).size == 2
    assert metrics.auc(np.array([0, 1]), logits) == 1.0


def test_an_absent_class_is_none_with_its_reason():
    labels, logits = np.array([0, 0, 1]), np.zeros((3, 4), dtype=np.float32)
    values, undefined = metrics.compute(labels, logits)
    assert values["auc"] is None
    assert values["balanced_accuracy"] is None
    assert undefined == dict.fromkeys(("auc", "balanced_accuracy"), "classes 2, 3 have none")
    assert values["accuracy"] == pytest.approx(2 / 3)
    _, undefined = metrics.compute(labels, logits[:, :3])
    assert undefined["auc"] == "class 2 has no volume"


def test_no_volumes_is_none_with_its_reason():
    values, undefined = metrics.compute(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
    assert set(values.values()) == {None}
    assert set(values) == set(undefined) == set(metrics.NAMES)
    assert set(undefined.values()) == {"no volumes"}


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        (np.zeros((3, 1), dtype=int), np.zeros((3, 2)), r"labels \(N,\) and logits \(N, K\)"),
        (np.zeros(3, dtype=int), np.zeros((3, 1)), "with K ≥ 2"),
        (np.zeros(2, dtype=int), np.array([[0, np.nan], [0, 1]]), "got 1 that are not"),
        (np.array([0, 2]), np.zeros((2, 2)), r"must lie in 0\.\.1, got 0\.\.2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, logits, message):
    with pytest.raises(BenchError, match=message):
        metrics.compute(labels, logits)


def test_margins_are_positive_exactly_where_correct():
    labels, logits = _draw(5, "plain")
    margins = metrics.margins(labels, logits)
    assert np.array_equal(margins > 0, metrics.correct(labels, logits))
    row = metrics.margins(np.array([2]), np.array([[1.0, 4.0, 2.5]]))
    assert row.tolist() == [-1.5]


def test_margins_leave_the_logits_alone():
    logits = np.ones((2, 3))
    metrics.margins(np.array([0, 1]), logits)
    assert np.array_equal(logits, np.ones((2, 3)))


def test_calibration_error_of_a_known_case():
    # Confidence 0.75 on eight volumes of which four are right: the gap is 0.25.
    logits = np.tile([math.log(3), 0.0], (8, 1))
    labels = np.array([0, 1] * 4)
    assert metrics.compute(labels, logits)[0]["ece"] == pytest.approx(0.25)


def test_calibration_error_equals_a_plain_loop():
    labels, logits = _draw(3, "plain", n=500)
    confidence = metrics.softmax(logits).max(axis=1)
    right = metrics.correct(labels, logits)
    expected = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.compute(labels, logits)[0]["ece"] == pytest.approx(expected)


def test_flip_rate_counts_changed_predictions():
    clean = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    assert metrics.flip_rate(clean, clean) == 0
    assert metrics.flip_rate(clean, clean[:, ::-1]) == 1
    assert metrics.flip_rate(clean, np.tile([1.0, 0], (4, 1))) == 0.5
    assert metrics.flip_rate(clean[:0], clean[:0]) is None


def test_logits_that_no_probability_tells_apart_are_told_apart_or_undefined() -> None:
    generator = np.random.default_rng(5)
    labels = np.arange(12) % 3
    logits = np.eye(3)[labels] + generator.normal(0, 0.2, (12, 3))
    for scale in (1.0, 1e-8, 1e-30, 1e-300):
        values, undefined = metrics.compute(labels, logits * scale)
        assert values["accuracy"] == 1.0
        assert values["balanced_accuracy"] == 1.0
        assert values["auc"] in (1.0, None)
        assert ("auc" in undefined) == (scale < 1e-12)
    constant, none = metrics.compute(labels, np.zeros((12, 3)))
    assert (constant["auc"], none) == (0.5, {})
