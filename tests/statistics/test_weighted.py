"""Weighted metrics: exact where arithmetic is, and equal to scikit-learn's."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchharness.statistics import metrics, resampling
from benchharness.statistics.weighted import mann_whitney, weighted

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sample(classes: int = 2, n: int = 60) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and logits, some of which are tied."""
    draws = np.random.default_rng(classes)
    labels = np.arange(n) % classes
    logits = draws.normal(size=(n, classes))
    logits[np.arange(n), labels] += 0.7
    logits[: n // 3] = np.round(logits[: n // 3])
    return labels, logits


def test_the_area_is_scikit_learns() -> None:
    labels, logits = sample()
    scores = metrics.softmax(logits)[:, 1]
    weights = np.random.default_rng(1).integers(0, 3, (60, 7)).astype(float)
    found = mann_whitney(labels == 1, scores, weights)
    wanted = [roc_auc_score(labels, scores, sample_weight=w) for w in weights.T]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_the_area_of_whole_weights_is_exact_to_the_last_bit() -> None:
    labels, logits = sample(n=24)
    scores, positive = metrics.softmax(logits)[:, 1], labels == 1
    weights = np.random.default_rng(2).integers(0, 4, (24, 50))
    for column, found in zip(
        weights.T, mann_whitney(positive, scores, weights.astype(float)), strict=True
    ):
        halves = pairs = 0
        for own, often in zip(scores[positive], column[positive].tolist(), strict=True):
            for other, there in zip(scores[~positive], column[~positive].tolist(), strict=True):
                halves += often * there * (int(own > other) + int(own >= other))
                pairs += often * there
        assert found == float(Fraction(halves, 2 * pairs))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", metrics.NAMES)
def test_even_weights_give_the_plain_metric(metric: str, classes: int) -> None:
    labels, logits = sample(classes)
    value = metrics.compute(labels, logits)[0][metric]
    found = weighted(metric, labels, logits, np.ones((len(labels), 2)))
    np.testing.assert_allclose(found, [value, value], rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", metrics.NAMES)
def test_resamples_of_volumes_are_weighted_metrics(metric: str, classes: int) -> None:
    labels, logits = sample(classes)
    by_class = metric in ("auc", "balanced_accuracy")
    weights = resampling.draw_weights(labels if by_class else np.zeros_like(labels))
    found = resampling.resample(metric, labels, logits)
    wanted = weighted(metric, labels, logits, weights)
    if metric == "balanced_accuracy":
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, wanted)


def test_a_class_without_weight_gives_nan() -> None:
    labels, logits = sample()
    weights = (labels == 0).astype(float)[:, None]
    assert np.isnan(weighted("auc", labels, logits, weights)).all()
    assert np.isnan(weighted("balanced_accuracy", labels, logits, weights)).all()
    assert np.isfinite(weighted("accuracy", labels, logits, weights)).all()
