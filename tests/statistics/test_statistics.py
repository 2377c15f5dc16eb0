"""Intervals and tests against SciPy, scikit-learn and statsmodels, and by simulation.

`pytest tests/statistics/test_statistics.py -m slow -k coverage -s` prints the table of
docs/statistics.md.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from benchharness import statistics
from benchharness.errors import BenchError
from benchharness.statistics import metrics, resampling


def _draw(num_classes=2, n=200, *, signal=1.0, seed=0, decimals=None, labels=None):
    """Labels, balanced unless given, and logits that favour them by `signal`."""
    generator = np.random.default_rng([seed, num_classes, n])
    labels = np.arange(n) % num_classes if labels is None else labels
    logits = generator.normal(size=(len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += signal
    return labels, logits if decimals is None else np.round(logits, decimals)


def _perfect(labels, num_classes):
    return 5.0 * np.eye(num_classes)[labels]


def _naive_delong(labels, *scores):
    """Placements by comparing every pair; the areas and their covariance matrix."""
    tens, ones = [], []
    for own in scores:
        positive, negative = own[labels == 1], own[labels == 0]
        wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        tens.append(wins.mean(axis=1))
        ones.append(wins.mean(axis=0))
    covariance = np.cov(tens) / len(tens[0]) + np.cov(ones) / len(ones[0])
    return [ten.mean() for ten in tens], covariance


class TestWilson:
    @pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 300), (3, 10), (240, 298), (300, 300)])
    def test_equals_statsmodels(self, k, n, level):
        found = statistics.wilson(k, n, level)
        expected = proportion_confint(k, n, alpha=1 - level, method="wilson")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
        assert (found.level, found.method) == (level, "Wilson")

    def test_the_ends_are_exact(self):
        assert statistics.wilson(0, 50).low == 0.0
        assert statistics.wilson(50, 50).high == 1.0
        assert statistics.wilson(50, 50).low < 1

    def test_no_volumes_say_nothing(self):
        found = statistics.wilson(0, 0)
        assert (found.low, found.high, found.method) == (0, 1, "no volumes, nothing is known")

    def test_more_successes_than_volumes_are_refused(self):
        with pytest.raises(BenchError, match=r"successes in 0\.\.n, got 4 of 3"):
            statistics.wilson(4, 3)


class TestDeLong:
    @pytest.mark.parametrize("decimals", [None, 0])
    def test_equals_every_pair_compared(self, decimals):
        labels, logits = _draw(decimals=decimals)
        found = statistics.delong(labels, logits[:, 1])
        areas, covariance = _naive_delong(labels, logits[:, 1])
        area, deviation = areas[0], math.sqrt(float(covariance))
        assert area == pytest.approx(roc_auc_score(labels, logits[:, 1]))
        spread = stats.norm.ppf(0.975) * deviation / (area * (1 - area))
        ends = stats.logistic.cdf([stats.logistic.ppf(area) + s * spread for s in (-1, 1)])
        assert (found.low, found.high) == pytest.approx(tuple(ends))
        assert found.method == "DeLong, logit scale"

    @pytest.mark.parametrize("sign", [1, -1])
    def test_perfect_separation_is_a_defined_interval(self, sign):
        labels = np.arange(100) % 2
        found = statistics.delong(labels, sign * labels.astype(float))
        assert found.method == "Newcombe"
        near, far = (found.high, found.low) if sign == 1 else (found.low, found.high)
        assert near == pytest.approx(max(sign, 0), abs=1e-9)
        assert 0.01 < abs(far - near) < 0.1

    def test_newcombe_solves_its_equation(self):
        labels = np.arange(100) % 2
        found = statistics.delong(labels, labels.astype(float))
        theta, n = found.low, 50
        spread = 1 + (n - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * spread / n**2
        assert 1 - theta == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(variance))

    @pytest.mark.parametrize("counts", [(1, 20), (20, 1), (1, 1)])
    def test_one_volume_in_a_class_is_a_defined_interval(self, counts):
        labels = np.repeat([0, 1], counts)
        found = statistics.delong(labels, np.random.default_rng(0).normal(size=len(labels)))
        assert found.method == "Newcombe"
        assert 0 <= found.low < found.high <= 1

    def test_tied_scores_are_a_defined_interval_around_one_half(self):
        found = statistics.delong(np.arange(100) % 2, np.zeros(100))
        assert found.low == pytest.approx(1 - found.high)
        assert 0.35 < found.low < 0.45

    def test_an_absent_class_is_none(self):
        assert statistics.delong(np.ones(5, dtype=int), np.arange(5.0)) is None
        assert statistics.delong(np.zeros(0, dtype=int), np.zeros(0)) is None


class TestResampling:
    @pytest.mark.parametrize("decimals", [None, 0])
    @pytest.mark.parametrize("num_classes", [2, 4])
    @pytest.mark.parametrize("metric", metrics.NAMES)
    def test_resamples_equal_the_metric_of_repeated_volumes(self, metric, num_classes, decimals):
        labels, logits = _draw(num_classes, 60, decimals=decimals)
        found = resampling.resample(metric, labels, logits)
        by_class = metric in statistics.BY_CLASS
        weights = resampling.draw_weights(labels if by_class else np.zeros_like(labels))
        assert found.shape == (statistics.RESAMPLES,)
        for index in range(5):
            chosen = np.repeat(np.arange(60), weights[:, index].astype(int))
            values, _ = metrics.compute(labels[chosen], logits[chosen])
            expected = values[metric]
            assert found[index] == pytest.approx(expected, abs=1e-12)

    def test_each_class_keeps_its_size_and_draws_differ(self):
        labels = np.array([0] * 5 + [1] * 20 + [2])
        weights = resampling.draw_weights(labels)
        for label, size in ((0, 5), (1, 20), (2, 1)):
            assert (weights[labels == label].sum(axis=0) == size).all()
        assert weights[labels == 1].var() == pytest.approx(19 / 20, rel=0.05)
        assert len(np.unique(weights, axis=1)[0]) > 1900

    @pytest.mark.parametrize("num_classes", [2, 4])
    @pytest.mark.parametrize("metric", [name for name in metrics.NAMES if name != "ece"])
    def test_contributions_average_to_the_metric(self, metric, num_classes):
        labels, logits = _draw(num_classes, 90)
        values, _ = metrics.compute(labels, logits)
        mean = resampling.contributions(metric, labels, logits).mean()
        assert mean == pytest.approx(values[metric])

    @pytest.mark.parametrize("metric", statistics.BY_CLASS)
    def test_contributions_vary_as_resamples_do(self, metric):
        labels, logits = _draw(4, 400)
        contributions = resampling.contributions(metric, labels, logits)
        expected = resampling.resample(metric, labels, logits).std()
        assert contributions.std() / math.sqrt(400) == pytest.approx(expected, rel=0.06)


class TestInterval:
    @pytest.mark.parametrize("num_classes", [2, 3])
    @pytest.mark.parametrize("metric", metrics.NAMES)
    def test_contains_the_value_and_repeats_itself(self, metric, num_classes):
        labels, logits = _draw(num_classes)
        value = metrics.compute(labels, logits)[0][metric]
        found = statistics.interval(metric, labels, logits)
        assert found.low < value < found.high
        resampling._drawn.cache_clear()
        assert statistics.interval(metric, labels, logits) == found
        wider = statistics.interval(metric, labels, logits, level=0.99)
        assert wider.low <= found.low < found.high < wider.high

    def test_the_method_suits_the_metric(self):
        two, three = _draw(2), _draw(3)
        methods = {
            statistics.interval("accuracy", *two).method: "Wilson",
            statistics.interval("auc", *two).method: "DeLong, logit scale",
            statistics.interval("auc", *three).method: "stratified bootstrap, logit scale",
            statistics.interval("ece", *three).method: "basic bootstrap",
            statistics.interval("nll", *three).method: "percentile bootstrap",
        }
        assert all(found == expected for found, expected in methods.items())

    def test_multi_class_auc_of_two_is_near_delong(self):
        labels, logits = _draw(2, 300)
        delong = statistics.interval("auc", labels, logits)
        bootstrap = statistics.stratified_bootstrap("auc", labels, logits)
        assert (bootstrap.low, bootstrap.high) == pytest.approx((delong.low, delong.high), abs=4e-3)

    def test_all_correct_has_width_and_says_how(self):
        labels = np.arange(90) % 3
        logits = _perfect(labels, 3)
        for metric, method in (("auc", "Newcombe"), ("balanced_accuracy", "Wilson")):
            found = statistics.interval(metric, labels, logits)
            assert found.high == pytest.approx(1)
            assert 0.85 < found.low < 0.97
            assert found.method == f"mean over classes of {method} bounds"

    @pytest.mark.parametrize("metric", metrics.NAMES)
    def test_none_or_finite_on_every_small_sample(self, metric):
        generator = np.random.default_rng(0)
        for n in range(7):
            for _ in range(6):
                labels = generator.integers(0, 3, n)
                logits = np.round(generator.normal(size=(n, 3)))
                value = metrics.compute(labels, logits)[0][metric]
                found = statistics.interval(metric, labels, logits)
                if found is None:
                    assert value is None or n < 2
                else:
                    assert 0 <= found.low <= found.high < math.inf

    def test_an_unknown_metric_is_refused(self):
        with pytest.raises(BenchError, match=r"'acc'\. Did you mean 'auc' or 'accuracy'"):
            statistics.interval("acc", *_draw())


class TestMeanOverCells:
    @pytest.mark.parametrize("metric", statistics.SHARES)
    def test_one_cell_over_and_over_is_that_cell(self, metric):
        cell = _draw(3)
        value, once = statistics.mean_over_cells(metric, [cell])
        again, thrice = statistics.mean_over_cells(metric, [cell] * 3)
        assert value == again == pytest.approx(metrics.compute(*cell)[0][metric])
        assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))

    def test_independent_cells_narrow_it(self):
        cells = [_draw(3, seed=seed) for seed in range(4)]
        width = [i.high - i.low for _, i in map(_accuracy_mean, (cells[:1], cells))]
        assert width[1] == pytest.approx(width[0] / 2, rel=0.15)

    @pytest.mark.parametrize("metric", statistics.SHARES)
    def test_all_correct_falls_back_on_the_cells(self, metric):
        labels = np.arange(60) % 2
        cell = (labels, _perfect(labels, 2))
        value, found = statistics.mean_over_cells(metric, [cell, cell])
        own = statistics.interval(metric, *cell)
        assert value == 1
        assert (found.low, found.high) == pytest.approx((own.low, own.high))
        assert found.method == "mean over cells of their bounds"

    def test_what_cannot_be_averaged_is_refused(self):
        labels, logits = _draw(3)
        with pytest.raises(BenchError, match="got different labels"):
            statistics.mean_over_cells("accuracy", [(labels, logits), (labels[::-1], logits)])
        with pytest.raises(BenchError, match="auc is undefined: class 2 has no volume"):
            statistics.mean_over_cells("auc", [(labels % 2, logits)])
        with pytest.raises(BenchError, match="at least one cell with volumes"):
            statistics.mean_over_cells("accuracy", [])
        with pytest.raises(BenchError, match="unknown metric 'ece'"):
            statistics.mean_over_cells("ece", [(labels, logits)])


def _accuracy_mean(cells):
    return statistics.mean_over_cells("accuracy", cells)


class TestOverSeeds:
    def test_fewer_than_three_seeds_say_what_is_missing(self):
        found = statistics.over_seeds("accuracy", [_draw(seed=0)])
        assert (found.interval, found.deviation) == (None, None)
        assert found.missing.startswith("1 training seed: an interval over seeds needs at least 3")
        found = statistics.over_seeds("accuracy", [_draw(seed=seed) for seed in range(2)])
        assert found.interval is None
        assert found.deviation is not None
        assert "train with --seeds 0,1,2" in found.missing
        one = [(np.array([0]), np.zeros((1, 2)))] * 3
        assert statistics.over_seeds("accuracy", one).missing.startswith("1 volume")

    def test_equals_the_analysis_of_variance_of_statsmodels(self):
        pandas = pytest.importorskip("pandas")
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm

        labels, hard = _draw(seed=9)
        runs = [(labels, hard + 0.5 * _draw(seed=s, signal=0.4 * s)[1]) for s in range(4)]
        values = np.stack([metrics.correct(*run) for run in runs]).astype(float)
        seeds, volumes = values.shape
        frame = pandas.DataFrame(
            {
                "x": values.ravel(),
                "s": np.repeat(np.arange(seeds), volumes),
                "v": np.tile(np.arange(volumes), seeds),
            }
        )
        squares = anova_lm(ols("x ~ C(s) + C(v)", frame).fit())["mean_sq"]
        variance = (squares["C(s)"] + squares["C(v)"] - squares["Residual"]) / values.size
        spread = stats.t.ppf(0.975, seeds - 1) * math.sqrt(variance)
        found = statistics.over_seeds("accuracy", runs)
        assert found.mean == pytest.approx(values.mean())
        assert found.interval.low == pytest.approx(values.mean() - spread)
        assert found.interval.high == pytest.approx(values.mean() + spread)
        assert found.deviation == pytest.approx(values.mean(axis=1).std(ddof=1))
        assert found.missing == ""

    @pytest.mark.parametrize("metric", statistics.SHARES)
    def test_every_share_is_the_mean_of_its_seeds(self, metric):
        runs = [_draw(3, seed=seed) for seed in range(3)]
        expected = np.mean([metrics.compute(*run)[0][metric] for run in runs])
        assert statistics.over_seeds(metric, runs).mean == pytest.approx(expected)


class TestMcNemar:
    @pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (3, 12), (20, 20)])
    def test_equals_statsmodels(self, b, c):
        first, second = _discordant(b, c, 100)
        found = statistics.mcnemar_exact(first, second)
        table = [[100 - b - c, b], [c, 0]]
        assert found.p_value == pytest.approx(min(1.0, mcnemar(table, exact=True).pvalue))
        assert found.difference == pytest.approx((b - c) / 100)
        assert found.interval.low < found.difference < found.interval.high

    def test_bonett_price_of_a_worked_case(self):
        found = statistics.mcnemar_exact(*_discordant(10, 4, 100)).interval
        one, other = 11 / 102, 5 / 102
        spread = 1.959964 * math.sqrt((one + other - (one - other) ** 2) / 102)
        assert (found.low, found.high) == pytest.approx(
            (one - other - spread, one - other + spread), abs=1e-6
        )

    @pytest.mark.parametrize("lengths", [(3, 4), (0, 0)])
    def test_what_is_no_pair_is_refused(self, lengths):
        with pytest.raises(BenchError, match=f"got {lengths[0]} and {lengths[1]}"):
            statistics.mcnemar_exact(*(np.ones(n, dtype=bool) for n in lengths))


def _discordant(b, c, n):
    index = np.arange(n)
    return (index < b) | (index >= b + c), index >= b


class TestPairedDeLong:
    @pytest.mark.parametrize("decimals", [None, 0])
    def test_equals_every_pair_compared(self, decimals):
        labels, first = _draw(decimals=decimals)
        second = first + _draw(signal=0, seed=1, decimals=decimals)[1]
        found = statistics.delong_paired(labels, first[:, 1], second[:, 1])
        areas, covariance = _naive_delong(labels, first[:, 1], second[:, 1])
        deviation = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        difference = areas[0] - areas[1]
        assert found.difference == pytest.approx(difference)
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / deviation))
        assert found.interval.low == pytest.approx(difference - 1.959964 * deviation, abs=1e-6)

    def test_no_variance_leaves_a_defined_interval(self):
        labels = np.arange(100) % 2
        scores = labels.astype(float)
        same = statistics.delong_paired(labels, scores, scores)
        assert (same.difference, same.p_value) == (0, 1)
        assert same.interval.low < 0 < same.interval.high
        opposite = statistics.delong_paired(labels, scores, -scores)
        assert opposite.difference == 1
        assert opposite.p_value < 1e-6
        assert 0.9 < opposite.interval.low < 1

    def test_an_absent_class_is_none(self):
        assert statistics.delong_paired(np.zeros(4), np.arange(4.0), np.arange(4.0)) is None


class TestPairedBootstrap:
    def test_accuracy_is_near_bonett_price(self):
        labels, first = _draw(3, 300)
        second = _draw(3, 300, seed=1, signal=1.6)[1]
        found = statistics.paired_bootstrap("accuracy", [(labels, first)], [(labels, second)])
        pair = (metrics.correct(labels, first), metrics.correct(labels, second))
        exact = statistics.mcnemar_exact(*pair)
        assert found.difference == pytest.approx(exact.difference)
        assert found.interval.low == pytest.approx(exact.interval.low, abs=0.005)
        assert found.interval.high == pytest.approx(exact.interval.high, abs=0.005)
        assert found.p_value < 0.01

    def test_auc_is_near_paired_delong(self):
        labels, first = _draw(2, 300)
        second = _draw(2, 300, seed=1)[1]
        found = statistics.paired_bootstrap("auc", [(labels, first)], [(labels, second)])
        scores = [metrics.softmax(logits)[:, 1] for logits in (first, second)]
        delong = statistics.delong_paired(labels, *scores)
        assert found.difference == pytest.approx(delong.difference)
        assert found.p_value == pytest.approx(delong.p_value, abs=0.04)
        assert found.interval.low == pytest.approx(delong.interval.low, abs=0.006)

    @pytest.mark.parametrize("metric", statistics.SHARES)
    def test_a_model_does_not_differ_from_itself(self, metric):
        cells = [_draw(3, seed=seed) for seed in range(2)]
        found = statistics.paired_bootstrap(metric, cells, cells)
        assert (found.difference, found.p_value) == (0, 1)
        assert found.interval.low < 0 < found.interval.high

    def test_swapping_the_models_mirrors_the_result(self):
        one, other = [_draw(3, seed=0)], [_draw(3, seed=1)]
        there, back = (
            statistics.paired_bootstrap("balanced_accuracy", *pair)
            for pair in ((one, other), (other, one))
        )
        assert there.difference == -back.difference
        assert there.p_value == back.p_value
        assert there.interval.low == pytest.approx(-back.interval.high)

    def test_other_cells_are_refused(self):
        with pytest.raises(BenchError, match="the same cells of both models, got 1 and 2"):
            statistics.paired_bootstrap("accuracy", [_draw()], [_draw(), _draw()])


def test_holm_equals_statsmodels():
    values = [0.04, 0.001, 0.04, 0.9, 0.012]
    expected = multipletests(values, method="holm")[1]
    assert statistics.holm(values) == pytest.approx(tuple(expected))
    assert statistics.holm([]) == ()


class TestDetectableDifference:
    @pytest.mark.parametrize(("n", "discordance"), [(300, 0.1), (300, 0.25), (610, 0.15)])
    def test_mcnemar_finds_it_four_times_in_five(self, n, discordance):
        delta = statistics.minimum_detectable_difference(n, discordance)
        power = _mcnemar_power(n, discordance, delta)
        assert 0.75 < power < 0.83

    def test_more_volumes_and_less_power_detect_less(self):
        deltas = [statistics.minimum_detectable_difference(n, 0.2) for n in (100, 300, 900)]
        assert all(before > after for before, after in pairwise(deltas))
        assert statistics.minimum_detectable_difference(300, 0.2, power=0.5) < deltas[1]

    @pytest.mark.parametrize(("n", "discordance"), [(300, 0.0), (300, 0.01), (1, 0.5), (0, 0.5)])
    def test_what_no_difference_would_show_is_none(self, n, discordance):
        assert statistics.minimum_detectable_difference(n, discordance) is None


def _mcnemar_power(n, discordance, delta, alpha=0.05):
    share = (1 + delta / discordance) / 2
    power = 0.0
    for total in range(n + 1):
        weight = stats.binom.pmf(total, n, discordance)
        if weight > 1e-9 and total:
            b = np.arange(total + 1)
            p_values = 2 * stats.binom.cdf(np.minimum(b, total - b), total, 0.5)
            power += weight * stats.binom.pmf(b, total, share)[p_values < alpha].sum()
    return power


class TestGroups:
    def test_equal_models_are_one_group_and_worse_ones_the_next(self):
        generator = np.random.default_rng(0)
        shares = (0.5, 0.9, 0.88, 0.48)
        correct = np.stack([generator.random(400) < share for share in shares])
        assert statistics.indistinguishable_groups(correct) == (2, 1, 1, 2)

    def test_a_chain_of_near_neighbours_is_cut_where_the_best_is_left(self):
        different = np.zeros((4, 4), dtype=bool)
        different[0, 2:] = different[1, 3] = True
        found = statistics.rank_groups([0.9, 0.8, 0.7, 0.6], different | different.T)
        assert found == (1, 1, 2, 2)

    def test_one_model_and_ties(self):
        assert statistics.indistinguishable_groups(np.ones((1, 5), dtype=bool)) == (1,)
        assert statistics.indistinguishable_groups(np.ones((3, 5), dtype=bool)) == (1, 1, 1)

    def test_equal_models_seldom_split(self):
        generator = np.random.default_rng(1)
        split = sum(
            max(statistics.indistinguishable_groups(generator.random((4, 300)) < 0.8)) > 1
            for _ in range(300)
        )
        assert split / 300 <= 0.05


class TestClinical:
    def test_threshold_has_the_largest_youden_index_of_scikit_learn(self):
        labels, logits = _draw()
        scores = metrics.softmax(logits)[:, 1]
        threshold = statistics.frozen_threshold(labels == 1, scores)
        false, true, _ = roc_curve(labels, scores)
        sensitivity, specificity = statistics.sensitivity_and_specificity(
            labels == 1, scores, threshold
        )
        assert sensitivity.value + specificity.value - 1 == pytest.approx(max(true - false))
        assert (sensitivity.value + specificity.value) / 2 == pytest.approx(
            balanced_accuracy_score(labels, scores > threshold)
        )
        assert (sensitivity.n, specificity.n) == (100, 100)
        assert sensitivity.interval.low < sensitivity.value < sensitivity.interval.high

    def test_threshold_stands_between_two_scores(self):
        positive = np.array([False, False, True, True])
        found = statistics.frozen_threshold(positive, np.array([0.1, 0.3, 0.5, 0.9]))
        assert found == pytest.approx(0.4)

    def test_no_threshold_from_one_class(self):
        assert statistics.frozen_threshold(np.ones(3, dtype=bool), np.arange(3.0)) is None
        assert statistics.frozen_threshold(np.zeros(3, dtype=bool), np.arange(3.0)) is None

    def test_an_absent_class_has_no_sensitivity(self):
        negative = np.zeros(4, dtype=bool)
        sensitivity, specificity = statistics.sensitivity_and_specificity(
            negative, np.zeros(4), 0.5
        )
        assert (sensitivity.value, sensitivity.n) == (None, 0)
        assert (sensitivity.interval.low, sensitivity.interval.high) == (0, 1)
        assert specificity.value == 1

    def test_confident_and_wrong_needs_both(self):
        logits = np.array([[3.0, 0], [3, 0], [0.1, 0], [0, 3]])
        labels = np.array([0, 1, 1, 1])
        assert statistics.confident_and_wrong(labels, logits).value == 0.25
        assert statistics.confident_and_wrong(labels, logits, confidence=0.5).value == 0.5
        assert statistics.confident_and_wrong(labels[:0], logits[:0]).value is None


# Simulated coverage and false alarms


def _wilson_coverage(p, n):
    """Exact: the binomial probability of the counts whose interval holds p."""
    counts = np.arange(n + 1)
    found = [statistics.wilson(k, n) for k in counts]
    held = np.array([one.low <= p <= one.high for one in found])
    return float(stats.binom.pmf(counts, n, p)[held].sum())


def _delong_coverage(area, positives, negatives, replicates):
    """Normal scores: the true area follows from the distance of their means."""
    generator = np.random.default_rng([positives, negatives, round(1000 * area)])
    labels = np.repeat([1, 0], [positives, negatives])
    shift = math.sqrt(2) * stats.norm.ppf(area) * labels
    draws = generator.normal(size=(replicates, len(labels))) + shift
    found = [statistics.delong(labels, scores) for scores in draws]
    return np.mean([one.low <= area <= one.high for one in found])


def _population(metric, num_classes, signal):
    """The metric on 120,000 volumes, in place of its true value."""
    values, _ = metrics.compute(*_draw(num_classes, 120_000, signal=signal, seed=99))
    return values[metric]


def _interval_coverage(metric, num_classes, n, signal, replicates):
    truth = _population(metric, num_classes, signal)
    held = 0
    for seed in range(replicates):
        found = statistics.interval(metric, *_draw(num_classes, n, signal=signal, seed=seed))
        held += found.low <= truth <= found.high
    return held / replicates, truth


def _cells_coverage(metric, n, replicates, signals=(0.5, 1.0, 2.0)):
    """Three cells whose logits share most of their noise, as one model's do."""
    labels = np.arange(n) % 3
    truth = np.mean([_population(metric, 3, signal) for signal in signals])
    held = 0
    for seed in range(replicates):
        generator = np.random.default_rng([seed, n])
        shared = generator.normal(size=(n, 3)) * math.sqrt(0.8)
        own = [generator.normal(size=(n, 3)) * math.sqrt(0.2) for _ in signals]
        knows = np.eye(3)[labels]
        cells = [(labels, shared + o + s * knows) for o, s in zip(own, signals, strict=True)]
        _, found = statistics.mean_over_cells(metric, cells)
        held += found.low <= truth <= found.high
    return held / replicates


def _seeds_coverage(seeds, replicates, n=300):
    """Volumes of different difficulty and seeds of different skill; the true accuracy is 0.8."""
    spread = (0.6, 0.1)  # of volumes and of seeds, beside unit noise
    shift = stats.norm.ppf(0.8) * math.sqrt(1 + sum(s**2 for s in spread))
    labels = np.zeros(n, dtype=np.int64)
    held = 0
    for replicate in range(replicates):
        generator = np.random.default_rng([seeds, replicate])
        scores = shift + spread[0] * generator.normal(size=n)
        scores = scores + spread[1] * generator.normal(size=(seeds, 1))
        scores = scores + generator.normal(size=(seeds, n))
        runs = [(labels, np.stack([own, np.zeros(n)], axis=1)) for own in scores]
        found = statistics.over_seeds("accuracy", runs).interval
        held += found.low <= 0.8 <= found.high
    return held / replicates


def _null_pair(seed, num_classes, n, shared):
    """Two models that are equally good and agree by `shared` of their noise."""
    generator = np.random.default_rng([seed, num_classes, n])
    labels = np.arange(n) % num_classes
    common, one, other = generator.normal(size=(3, n, num_classes))
    base = 1.2 * np.eye(num_classes)[labels] + math.sqrt(shared) * common
    return labels, *(base + math.sqrt(1 - shared) * own for own in (one, other))


def _mcnemar_alarms(replicates, n=300, shared=0.5):
    alarms = 0
    for seed in range(replicates):
        labels, one, other = _null_pair(seed, 3, n, shared)
        pair = (metrics.correct(labels, one), metrics.correct(labels, other))
        alarms += statistics.mcnemar_exact(*pair).p_value <= 0.05
    return alarms / replicates


def _delong_alarms(replicates, n=300, shared=0.5):
    alarms = 0
    for seed in range(replicates):
        labels, one, other = _null_pair(seed, 2, n, shared)
        scores = (metrics.softmax(one)[:, 1], metrics.softmax(other)[:, 1])
        alarms += statistics.delong_paired(labels, *scores).p_value <= 0.05
    return alarms / replicates


def _bootstrap_alarms(metric, replicates, n=300, shared=0.5):
    alarms = 0
    for seed in range(replicates):
        labels, one, other = _null_pair(seed, 3, n, shared)
        found = statistics.paired_bootstrap(metric, [(labels, one)], [(labels, other)])
        alarms += found.p_value <= 0.05
    return alarms / replicates


@pytest.mark.parametrize("n", [240, 298, 352, 610])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.75, 0.9, 0.95])
def test_accuracy_intervals_hold_93_to_97_times_in_100(p, n):
    assert 0.93 <= _wilson_coverage(p, n) <= 0.97


@pytest.mark.parametrize(("area", "positives"), [(0.6, 40), (0.9, 40), (0.8, 150)])
def test_auc_intervals_hold_about_their_level(area, positives):
    # 1,000 replicates have a standard error of 0.007.
    assert 0.93 <= _delong_coverage(area, positives, 150, 1000) <= 0.975


@pytest.mark.parametrize("metric", statistics.BY_CLASS)
def test_bootstrap_intervals_hold_about_their_level(metric):
    # 150 replicates have a standard error of 0.018.
    assert 0.91 <= _interval_coverage(metric, 3, 90, 1.5, 150)[0] <= 0.99


def test_intervals_over_seeds_hold_at_least_their_level():
    assert _seeds_coverage(3, 400) >= 0.93


def test_mcnemar_keeps_its_false_alarms_under_alpha():
    assert _mcnemar_alarms(2000) <= 0.05


@pytest.mark.parametrize("shared", [0.5, 0.98])
def test_paired_bootstrap_of_accuracy_keeps_its_false_alarms_near_alpha(shared):
    # 500 replicates have a standard error of 0.01.
    assert _bootstrap_alarms("accuracy", 500, shared=shared) <= 0.07


# Each line: method, setting, the share found, and the bounds that it must keep.


def _accuracy_table():
    for n in (240, 298, 610):
        for p in (0.5, 0.75, 0.9, 0.97, 0.99):
            low, high = (0.93, 0.97) if p <= 0.95 else (0.9, 1)
            yield "Wilson", f"accuracy {p}, n {n} (exact)", _wilson_coverage(p, n), low, high


def _delong_table(replicates):
    for positives, negatives in ((43, 339), (69, 229), (150, 150)):
        for area in (0.6, 0.8, 0.9, 0.95, 0.99):
            low, high = (0.93, 0.97) if area <= 0.9 else (0.85, 1)
            share = _delong_coverage(area, positives, negatives, replicates)
            yield "DeLong", f"AUC {area}, {positives} + {negatives}", share, low, high


def _bootstrap_table(replicates):
    for metric in statistics.BY_CLASS:
        for classes, n, repeats in ((3, 240, replicates), (11, 610, replicates // 5)):
            for signal in (1.0, 4.0):
                share, truth = _interval_coverage(metric, classes, n, signal, repeats)
                setting = f"{metric} {truth:.3f}, {classes} classes, n {n}, {repeats} replicates"
                yield "stratified bootstrap", setting, share, 0.9, 1
    for metric in statistics.SHARES:
        share = _cells_coverage(metric, 300, replicates)
        setting = f"{metric}, 3 cells, n 300, {replicates} replicates"
        yield "mean over cells", setting, share, 0.92, 0.975


def _calibration_table(replicates):
    for metric in ("brier", "nll", "ece"):
        for signal in (0.5, 2.0):
            share, truth = _interval_coverage(metric, 3, 300, signal, replicates)
            setting = f"{metric} {truth:.3f}, 3 classes, n 300"
            yield "bootstrap", setting, share, 0.85, 1


def _seeds_table(replicates):
    for seeds in (3, 5, 10):
        share = _seeds_coverage(seeds, replicates)
        yield "seeds × volumes", f"accuracy 0.8, {seeds} seeds, n 300", share, 0.93, 1


def _alarms_table(replicates):
    for shared in (0.5, 0.98):
        setting = f"false alarms, n 300, models share {shared:.0%} of their noise"
        yield "exact McNemar", setting, _mcnemar_alarms(replicates, shared=shared), 0, 0.05
        yield "paired DeLong", setting, _delong_alarms(replicates, shared=shared), 0, 0.065
        for metric in statistics.SHARES:
            repeats = replicates if metric == "accuracy" else replicates // 4
            share = _bootstrap_alarms(metric, repeats, shared=shared)
            named = f"{setting}, {repeats} replicates"
            yield f"paired bootstrap, {metric}", named, share, 0, 0.085


@pytest.mark.slow
@pytest.mark.parametrize(
    "table",
    [
        _accuracy_table,
        partial(_delong_table, 2000),
        partial(_bootstrap_table, 1000),
        partial(_calibration_table, 2000),
        partial(_seeds_table, 2000),
        partial(_alarms_table, 2000),
    ],
    ids=["accuracy", "auc", "bootstrap", "calibration", "seeds", "false alarms"],
)
def test_coverage_table(table):
    wrong = []
    print("\n| method | setting | % |\n|---|---|---|")  # noqa: T201
    for method, setting, share, low, high in table():
        print(f"| {method} | {setting} | {100 * share:.1f} |", flush=True)  # noqa: T201
        if not low <= share <= high:
            wrong.append((method, setting, share))
    assert wrong == []
