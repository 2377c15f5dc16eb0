"""Statistics over patients: equal to those over volumes where they must be, and wide enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from benchharness import statistics
from benchharness.errors import BenchError
from benchharness.statistics import metrics, uncertainty

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = tuple["NDArray[np.int64]", "NDArray[np.float32]", "NDArray[np.str_]"]


def sample(
    patients: int = 40, each: int = 4, classes: int = 2, seed: int = 0, likeness: float = 2.0
) -> Arrays:
    """Volumes of patients: one class per patient, and margins that a patient's volumes share."""
    draws = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), each)
    labels = owner % classes
    logits = draws.normal(size=(len(owner), classes))
    shared = draws.normal(size=patients) * likeness
    logits[np.arange(len(owner)), labels] += 1.0 + shared[owner]
    names = np.asarray([f"p{index:03}" for index in owner])
    return labels, logits.astype(np.float32), names


@pytest.mark.parametrize("metric", metrics.NAMES)
def test_without_patients_or_with_one_volume_each_it_is_the_ordinary_interval(metric: str) -> None:
    labels, logits, _ = sample(each=1)
    own = np.asarray([f"p{index}" for index in range(len(labels))])
    ordinary = statistics.interval(metric, labels, logits)
    assert ordinary is not None
    assert uncertainty.interval(metric, labels, logits, None) == ordinary
    assert uncertainty.interval(metric, labels, logits, own) == ordinary


@pytest.mark.parametrize("metric", metrics.NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_metric_has_an_interval_about_its_value(metric: str, classes: int) -> None:
    labels, logits, patients = sample(classes=classes)
    found = uncertainty.interval(metric, labels, logits, patients)
    value = metrics.compute(labels, logits)[0][metric]
    assert found is not None
    assert value is not None
    assert found.low < found.high
    assert "40 patients" in found.method
    if metric != "ece":
        assert found.low < value < found.high


@pytest.mark.parametrize("metric", ["accuracy", "auc", "balanced_accuracy", "brier"])
def test_volumes_that_only_repeat_their_patient_add_no_certainty(metric: str) -> None:
    labels, logits, patients = sample(patients=60, each=1)
    once = statistics.interval(metric, labels, logits)
    repeated = [np.repeat(part, 5, axis=0) for part in (labels, logits, patients)]
    found = uncertainty.interval(metric, *repeated)
    naive = statistics.interval(metric, repeated[0], repeated[1])
    assert once is not None
    assert found is not None
    assert naive is not None
    width = found.high - found.low
    assert width == pytest.approx(once.high - once.low, rel=0.15)
    assert width > 1.8 * (naive.high - naive.low)


def test_accuracy_agrees_with_the_ratio_estimators_variance() -> None:
    labels, logits, patients = sample(patients=80)
    right = metrics.correct(labels, logits).astype(float)
    by_patient = uncertainty.per_patient(right, patients)
    assert by_patient.mean() == pytest.approx(right.mean())
    error = by_patient.std(ddof=1) / math.sqrt(80)
    value = right.mean()
    spread = stats.t.ppf(0.975, 79) * error / (value * (1 - value))
    found = uncertainty.interval("accuracy", labels, logits, patients)
    assert found is not None
    logit = math.log(found.high / (1 - found.high)) - math.log(found.low / (1 - found.low))
    assert logit / 2 == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auc"])
def test_at_the_ends_the_interval_is_as_wide_as_that_of_the_patients(
    metric: str, right: bool
) -> None:
    labels = np.repeat(np.arange(20) % 2, 5)
    answers = labels if right else 1 - labels
    logits = np.eye(2, dtype=np.float32)[answers]
    patients = np.repeat(np.asarray([f"p{i}" for i in range(20)]), 5)
    found = uncertainty.interval(metric, labels, logits, patients)
    count = 20 if metric == "accuracy" else 10
    wanted = statistics.wilson(count if right else 0, count)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_a_missing_class_or_a_single_patient_gives_no_interval() -> None:
    labels, logits, patients = sample()
    assert uncertainty.interval("auc", labels * 0, logits, patients) is None
    one = np.full_like(patients, "p")
    assert uncertainty.interval("accuracy", labels, logits, one) is None


def test_an_unknown_metric_is_refused_with_and_without_patients() -> None:
    labels, logits, patients = sample()
    for names in (patients, None):
        with pytest.raises(BenchError, match="unknown metric 'aux'"):
            uncertainty.interval("aux", labels, logits, names)


def test_means_over_cells_and_shares_take_patients_too() -> None:
    labels, logits, patients = sample()
    other = sample(seed=1)[1]
    value, found = uncertainty.mean_over_cells("auc", [(labels, logits), (labels, other)], patients)
    plain, ordinary = statistics.mean_over_cells("auc", [(labels, logits), (labels, other)])
    assert value == plain
    assert found.high - found.low > ordinary.high - ordinary.low
    assert uncertainty.mean_over_cells("auc", [(labels, logits)], None) == (
        statistics.mean_over_cells("auc", [(labels, logits)])
    )
    right = metrics.correct(labels, logits)
    assert uncertainty.share(right, patients) == uncertainty.interval(
        "accuracy", labels, logits, patients
    )
    assert uncertainty.share(right, None) == statistics.wilson(int(right.sum()), len(right))


def test_a_comparison_of_repeated_volumes_is_that_of_the_patients() -> None:
    draws = np.random.default_rng(3)
    labels = np.arange(60) % 2
    first = np.eye(2, dtype=np.float32)[np.where(draws.random(60) < 0.9, labels, 1 - labels)]
    second = np.eye(2, dtype=np.float32)[np.where(draws.random(60) < 0.75, labels, 1 - labels)]
    once = statistics.paired_bootstrap("accuracy", [(labels, first)], [(labels, second)])
    names = np.asarray([f"p{i}" for i in range(60)])
    big = [np.repeat(part, 8, axis=0) for part in (labels, first, second, names)]
    cells = [(big[0], big[1])], [(big[0], big[2])]
    naive = statistics.paired_bootstrap("accuracy", *cells)
    found = uncertainty.paired_bootstrap("accuracy", *cells, big[3])
    assert naive.p_value < 0.01 < once.p_value
    assert found.p_value == pytest.approx(once.p_value, abs=0.05)
    assert found.difference == pytest.approx(naive.difference)
    assert uncertainty.paired_bootstrap("accuracy", *cells, None) == naive
    auc = uncertainty.paired_bootstrap("auc", *cells, big[3])
    assert auc.interval.low < auc.difference < auc.interval.high


@pytest.mark.parametrize("named", [False, True])
def test_gaps_have_the_p_value_of_the_comparison_that_they_come_from(named: bool) -> None:
    draws = np.random.default_rng(4)
    labels = np.arange(60) % 3
    patients = np.asarray([f"p{i // 4}" for i in range(60)]) if named else None
    models = [[(labels, draws.normal(size=(60, 3))) for _ in range(3)] for _ in range(2)]
    right = [np.mean([metrics.correct(*cell) for cell in cells], axis=0) for cells in models]
    found = uncertainty.p_value_of_gaps(right[0] - right[1], patients)
    assert found == uncertainty.paired_bootstrap("accuracy", *models, patients).p_value


def test_gaps_that_no_resample_contradicts_have_p_values_below_any_number_of_resamples() -> None:
    clear = np.repeat([1.0, 0.0], [48, 16])
    found = [uncertainty.p_value_of_gaps(sign * clear, None) for sign in (1, -1)]
    assert max(found) < 1e-9
    assert uncertainty.p_value_of_gaps(clear[40:], None) > 2 / 2001  # a few contradict
    patients = np.asarray([f"p{i // 2}" for i in range(64)])
    assert found[0] < uncertainty.p_value_of_gaps(clear, patients) < 1e-4


def test_equal_models_are_not_told_apart() -> None:
    labels, logits, patients = sample()
    cells = [(labels, logits)]
    for metric in ("accuracy", "auc", "balanced_accuracy"):
        assert uncertainty.paired_bootstrap(metric, cells, cells, patients).p_value == 1


def test_over_seeds_repeated_volumes_add_no_certainty() -> None:
    once, names = [], np.asarray([f"p{i}" for i in range(60)])
    for seed in range(3):
        labels, logits, _ = sample(patients=60, each=1, seed=seed)
        once.append((labels, logits))
    plain = statistics.over_seeds("accuracy", once)
    runs = [(np.repeat(a, 4), np.repeat(b, 4, axis=0)) for a, b in once]
    found = uncertainty.over_seeds("accuracy", runs, np.repeat(names, 4))
    assert plain.interval is not None
    assert found.interval is not None
    assert found.mean == pytest.approx(plain.mean)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (plain.interval.low, plain.interval.high)
    )
    assert uncertainty.over_seeds("accuracy", runs, None) == statistics.over_seeds("accuracy", runs)
    assert uncertainty.over_seeds("accuracy", runs[:2], np.repeat(names, 4)).interval is None
    alone = np.where(runs[0][0] == 1, "one", np.repeat(names, 4))
    assert "a class rests on one patient" in uncertainty.over_seeds("auc", runs, alone).missing


@pytest.mark.parametrize("metric", ["accuracy", "auc", "balanced_accuracy"])
@pytest.mark.parametrize("several", [False, True])
def test_a_mean_over_cells_and_seeds_varies_as_the_mean_of_its_cells(
    metric: str, several: bool
) -> None:
    labels, _, patients = sample()
    of = patients if several else None
    runs = [[(labels, sample(seed=10 * s + c)[1]) for c in range(3)] for s in range(4)]
    found = uncertainty.mean_over_seeds(metric, runs, of)
    assert found.interval is not None
    means = [np.mean([metrics.compute(*cell)[0][metric] for cell in cells]) for cells in runs]
    assert found.mean == pytest.approx(np.mean(means))
    assert found.deviation == pytest.approx(np.std(means, ddof=1))
    alike = uncertainty.mean_over_seeds(metric, [[cells[0]] * 3 for cells in runs], of)
    once = uncertainty.over_seeds(metric, [cells[0] for cells in runs], of)
    assert alike.interval is not None
    assert once.interval is not None
    assert (alike.mean, alike.interval.low) == pytest.approx((once.mean, once.interval.low))
    # Three cells that err on different volumes say more than one of them three times.
    assert found.interval.high - found.interval.low < once.interval.high - once.interval.low


def test_a_share_over_seeds_is_the_accuracy_of_those_who_are_right_there() -> None:
    labels, _, patients = sample()
    runs = [(labels, sample(seed=seed)[1]) for seed in range(3)]
    right = [metrics.correct(*run) for run in runs]
    for of in (None, patients):
        share = uncertainty.share_over_seeds(right, of)
        accuracy = uncertainty.over_seeds("accuracy", runs, of)
        assert share.interval is not None
        assert accuracy.interval is not None
        assert share.mean == pytest.approx(accuracy.mean)
        assert share.interval.low == pytest.approx(accuracy.interval.low, abs=0.005)
        assert share.interval.method == accuracy.interval.method


@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_intervals_cover_the_truth_where_those_over_volumes_do_not(metric: str) -> None:
    """Of 150 samples of 40 patients with six volumes each; a true value from a large sample."""
    truth = metrics.compute(*sample(patients=20_000, each=3, seed=99)[:2])[0][metric]
    assert truth is not None
    covered = {"patients": 0, "volumes": 0}
    for seed in range(150):
        labels, logits, patients = sample(patients=40, each=6, seed=1000 + seed)
        for how, names in (("patients", patients), ("volumes", None)):
            found = uncertainty.interval(metric, labels, logits, names)
            assert found is not None
            covered[how] += found.low <= truth <= found.high
    assert covered["patients"] >= 135  # nominal 142.5
    assert covered["volumes"] <= 120


@pytest.mark.slow
def test_coverage_over_patients_and_over_volumes() -> None:
    """Print the table of docs/statistics.md; 400 samples per row, five volumes per patient."""
    print("\n| metric | patients | likeness | over patients | over volumes |")  # noqa: T201
    print("|---|---|---|---|---|")  # noqa: T201
    for metric in ("accuracy", "auc", "balanced_accuracy"):
        for likeness in (1.0, 2.0):
            large = sample(patients=60_000, each=3, seed=99, likeness=likeness)
            truth = metrics.compute(*large[:2])[0][metric]
            assert truth is not None
            for count in (10, 20, 40, 80):
                covered = [0, 0]
                for seed in range(400):
                    labels, logits, patients = sample(
                        patients=count, each=5, seed=10_000 + seed, likeness=likeness
                    )
                    for place, names in enumerate((patients, None)):
                        found = uncertainty.interval(metric, labels, logits, names)
                        assert found is not None
                        covered[place] += found.low <= truth <= found.high
                shares = [f"{hits / 4:.1f}" for hits in covered]
                what = f"{metric} {truth:.3f}"
                print(f"| {what} | {count} | {likeness:g} | {' | '.join(shares)} |", flush=True)  # noqa: T201
                assert covered[0] >= 0.92 * 400
                assert covered[1] <= 0.9 * 400
