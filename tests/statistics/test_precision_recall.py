"""Average precision against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchharness.statistics.metrics import softmax
from benchharness.statistics.precision_recall import average_precision


@pytest.mark.parametrize("classes", [2, 3])
def test_as_scikit_learn_with_ties(classes: int) -> None:
    draws = np.random.Generator(np.random.PCG64(classes))
    labels = draws.integers(0, classes, 60)
    logits = draws.integers(0, 4, (60, classes)).astype(np.float32)
    chances = softmax(logits)
    wanted = [1] if classes == 2 else range(classes)
    expected = [average_precision_score(labels == k, chances[:, k]) for k in wanted]
    found = average_precision(labels, logits)
    assert found is not None
    assert found[0] == pytest.approx(np.mean(expected))
    assert found[1] == pytest.approx(np.mean([(labels == k).mean() for k in wanted]))


def test_an_absent_class_has_none() -> None:
    assert average_precision(np.array([0, 0]), np.zeros((2, 2), np.float32)) is None
