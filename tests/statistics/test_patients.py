"""Draws of whole patients, and what each patient contributes."""

from __future__ import annotations

import numpy as np
import pytest

from benchharness.statistics import metrics, patients


def test_a_resample_keeps_whole_patients_and_their_classes() -> None:
    owners = np.asarray(["a", "a", "b", "c", "c", "c", "d"])
    labels = np.asarray([0, 1, 0, 1, 1, 1, 0])
    weights = patients.draw_weights(owners, labels)
    for name in "abcd":
        own = weights[owners == name]
        assert (own == own[0]).all()
    first = [0, 2, 3, 6]  # one volume of each patient
    assert (weights[first].sum(axis=0) == 4).all()
    # `a` alone has both classes and `c` alone only the second: both are in every resample.
    assert (weights[0] == 1).all()
    assert (weights[3] == 1).all()
    assert set(np.unique(weights[2])) == {0, 1, 2}


def test_patients_matter_only_where_one_has_several_volumes() -> None:
    owners = np.asarray(["a", "b", "b"])
    assert patients.with_several_volumes(owners) is owners
    assert patients.with_several_volumes(owners[:2]) is None
    assert patients.with_several_volumes(None) is None


def test_a_metric_by_class_rests_on_the_patients_of_the_rarest() -> None:
    labels, owners = np.asarray([0, 0, 0, 1, 1]), np.asarray(["a", "b", "c", "c", "c"])
    assert patients.count_behind("accuracy", labels, owners) == 3
    assert patients.count_behind("auc", labels, owners) == 1


def test_gaps_of_patients_with_one_volume_each_are_those_of_the_volumes() -> None:
    gaps = np.asarray([1.0, 0.0, -1.0, 0.0])
    owners = np.asarray(list("abcd"))
    weights = patients.draw_weights(np.arange(6).astype(str), np.zeros(6, dtype=np.int64))
    wanted = np.concatenate([gaps, [1.0, -1.0]]) @ weights / 6
    np.testing.assert_allclose(patients.resample_gaps(gaps, owners), wanted, atol=1e-12)
    np.testing.assert_allclose(
        patients.resample_mean(gaps, owners),
        gaps @ patients.draw_weights(owners, np.zeros(4, dtype=np.int64)) / 4,
        atol=1e-12,
    )


def test_pseudo_values_of_accuracy_are_the_contributions_of_equal_patients() -> None:
    draws = np.random.default_rng(0)
    labels, logits = np.arange(30) % 2, draws.normal(size=(30, 2))
    owners = np.repeat(np.arange(10), 3).astype(str)
    right = metrics.correct(labels, logits).astype(float)
    contributed = patients.contributions(right, owners)
    assert contributed.shape == (10,)
    assert contributed.mean() == pytest.approx(right.mean())
    found = patients.pseudo_values("accuracy", labels, logits, owners)
    np.testing.assert_allclose(found, contributed, atol=1e-12)
