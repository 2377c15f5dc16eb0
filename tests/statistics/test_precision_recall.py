"""Average precision against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchharness.statistics.precision_recall import average_precision


def logits_of(scores: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Two classes, the second with these logits."""
    return np.stack([np.zeros(len(scores)), np.array(scores)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        # Recall 1/2 at precision 1, then 1 at precision 2/3.
        ([1, 0, 1, 0], [4.0, 3.0, 2.0, 1.0], 1 / 2 + 2 / 3 / 2),
        ([0, 0, 0, 1], [4.0, 3.0, 2.0, 1.0], 1 / 4),
        ([1, 1, 0, 0], [4.0, 3.0, 2.0, 1.0], 1.0),
        # Volumes with the same score share a threshold: all of them, then prevalence.
        ([1, 0, 0, 0], [1.0, 1.0, 1.0, 1.0], 1 / 4),
        # The pair shares one: recall 1/2 at precision 1/2, then 1 at 2/3.
        ([1, 0, 1], [2.0, 2.0, 1.0], 1 / 4 + 2 / 3 / 2),
    ],
)
def test_of_two_classes_it_is_that_of_the_second(
    labels: list[int], scores: list[float], expected: float
) -> None:
    found = average_precision(np.array(labels), logits_of(scores))
    assert found is not None
    assert found == pytest.approx((expected, np.mean(labels)))


def test_of_three_classes_it_is_the_mean_of_each_against_the_rest() -> None:
    # The first two volumes are told apart, the third is taken for the first class.
    logits = np.array([[4, 0, 0], [0, 4, 0], [5, 0, 1]], np.float32)
    found = average_precision(np.array([0, 1, 2]), logits)
    assert found is not None
    # Class 0: its volume comes second of three. Class 1: first. Class 2: first.
    assert found == pytest.approx(((1 / 2 + 1 + 1) / 3, 1 / 3))


def test_an_absent_class_has_none() -> None:
    assert average_precision(np.array([0, 0]), np.zeros((2, 2), np.float32)) is None
