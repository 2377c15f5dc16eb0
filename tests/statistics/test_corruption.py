"""Corruption measures by hand: known errors, known ratios, denominators that vanish."""

from __future__ import annotations

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.statistics import corruption, metrics
from benchharness.store.predictions import Predictions


def answers(wrong: int, n: int = 20, classes: int = 2, confidence: float = 1.0) -> Predictions:
    """Predictions, the first `wrong` of them to another class."""
    labels = np.arange(n) % classes
    chosen = labels.copy()
    chosen[:wrong] = (chosen[:wrong] + 1) % classes
    logits = np.zeros((n, classes), np.float32)
    logits[np.arange(n), chosen] = confidence
    ids = np.asarray([f"set/test/{index}" for index in range(n)])
    return Predictions(ids=ids, labels=labels, logits=logits)


def of(own: tuple[int, ...], other: tuple[int, ...]) -> dict[str, corruption.Value]:
    """Measures of a network with these counts of errors, clean first, against another's."""
    (clean, *corrupted), (reference, *references) = (
        [answers(wrong) for wrong in group] for group in (own, other)
    )
    return corruption.measures(clean, corrupted, reference, references)


def test_ratios_are_those_of_summed_errors() -> None:
    found = of((2, 4, 8), (4, 6, 10))
    assert found["ce"] == (pytest.approx((4 + 8) / (6 + 10)), "")
    assert found["relative_ce"] == (pytest.approx((2 + 6) / (2 + 6)), "")
    assert found["error"] == (pytest.approx(0.3), "")
    # Both classes are hit alike, so that balanced errors are the plain ones.
    assert found["balanced_ce"] == (pytest.approx(12 / 16), "")
    assert found["flip_rate"] == (pytest.approx((2 + 6) / 2 / 20), "")


def test_the_reference_against_itself_is_one() -> None:
    found = of((3, 5, 9), (3, 5, 9))
    for name in ("ce", "relative_ce", "balanced_ce", "relative_balanced_ce"):
        assert found[name][0] == pytest.approx(1)


def test_calibration_and_auc_are_means_of_the_cells_metrics() -> None:
    clean, corrupted = answers(1), [answers(4), answers(9)]
    found = corruption.measures(clean, corrupted, None, (), lacking="none is committed")
    cells = [metrics.compute(c.labels, c.logits)[0] for c in (clean, *corrupted)]
    for name in ("ece", "brier"):
        assert found[name][0] == pytest.approx(np.mean([c[name] for c in cells[1:]]))
    drop = cells[0]["auc"] - np.mean([c["auc"] for c in cells[1:]])
    assert found["auc_drop"][0] == pytest.approx(drop)
    assert found["ce"] == (None, "none is committed")


def test_a_vanishing_denominator_is_null_with_its_reason() -> None:
    found = of((1, 2), (0, 0))
    assert found["ce"] == (None, "the reference makes no error under the corruption")
    assert found["relative_ce"] == (None, "the corruption adds no error to the reference")
    assert of((1, 2), (5, 4))["relative_ce"][0] is None
    assert of((1, 2), (5, 4))["ce"][0] == pytest.approx(0.5)


def test_unbalanced_classes_part_plain_and_balanced_error() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    logits = np.stack([np.ones(10), np.zeros(10)], axis=1).astype(np.float32)
    ids = np.asarray([str(index) for index in range(10)])
    one = Predictions(ids=ids, labels=labels, logits=logits)
    found = corruption.measures(one, [one], None, (), lacking="none")
    assert found["error"][0] == pytest.approx(0.2)
    assert found["balanced_error"][0] == pytest.approx(0.5)


def test_an_absent_class_leaves_balanced_measures_undefined() -> None:
    labels = np.zeros(4, np.int64)
    logits = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    one = Predictions(ids=np.asarray(list("abcd")), labels=labels, logits=logits)
    found = corruption.measures(one, [one], one, [one])
    assert found["balanced_error"] == (None, "class 1 has no volume")
    assert found["balanced_ce"] == (None, "class 1 has no volume")
    assert found["ce"][0] == pytest.approx(1)


def test_the_mean_leaves_out_what_has_no_ratio_and_names_it() -> None:
    found = corruption.means({"motion": of((2, 4), (2, 8)), "blur": of((2, 4), (2, 2))})
    value, reason = found["relative_ce"]
    assert value == pytest.approx(2 / 6)
    assert reason == "without blur: the corruption adds no error to the reference"
    assert found["ce"] == (pytest.approx((4 / 8 + 4 / 2) / 2), "")
    assert corruption.means({})["ce"] == (None, "no artefact applies")
    none = corruption.means({"blur": of((2, 4), (2, 2))})["relative_ce"]
    assert none == (None, "the corruption adds no error to the reference")


def test_other_volumes_are_refused() -> None:
    with pytest.raises(BenchError, match="need predictions of the same volumes, got 20 and 18"):
        corruption.measures(answers(1), [answers(1, n=18)], None, ())


class TestCorruptionErrors:
    def test_ratio_to_the_reference(self) -> None:
        assert corruption.corruption_error([0.2, 0.4], [0.4, 0.8]) == (pytest.approx(0.5), "")

    def test_relative_ratio_subtracts_the_clean_error(self) -> None:
        value, reason = corruption.relative_corruption_error([0.2, 0.4], 0.1, [0.4, 0.8], 0.2)
        assert value == pytest.approx(0.4 / 0.8)
        assert reason == ""

    def test_a_reference_without_errors_gives_a_reason(self) -> None:
        value, reason = corruption.corruption_error([0.2], [0.0])
        assert (value, reason) == (None, "the reference makes no error under the corruption")

    @pytest.mark.parametrize("harmed", [0.3, 0.2])
    def test_a_reference_that_is_not_harmed_gives_a_reason(self, harmed: float) -> None:
        value, reason = corruption.relative_corruption_error([0.4], 0.1, [harmed], 0.3)
        assert (value, reason) == (None, "the corruption adds no error to the reference")

    def test_other_severities_are_refused(self) -> None:
        with pytest.raises(BenchError, match="got 2 of the network and 1 of the reference"):
            corruption.corruption_error([0.1, 0.2], [0.1])
