"""A comparison can judge AUC, balanced accuracy and sensitivity beside accuracy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.comparison import StoreComparison, render
from benchharness.comparison.contributions import METRICS
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store.index import Records
from tests.factories import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchharness.store.records import Record

    Compare = Callable[..., StoreComparison]

N = 100
LABELS = np.arange(N) % 2


def logits_of(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Two logits whose second probability is the score."""
    return np.stack([np.zeros(N), np.log(scores / (1 - scores))], axis=1).astype(np.float32)


def ranking(separation: float, seed: int = 0) -> NDArray[np.float32]:
    """Every volume is called negative; the scores order classes by this many deviations."""
    draws = np.random.default_rng(seed).normal(size=N) + separation * LABELS
    return logits_of(0.02 + 0.46 / (1 + np.exp(-draws)))


def release(blurred: NDArray[np.float32], **changes: Any) -> list[Made]:
    """Clean, and `motion` at three levels, of which the strongest has these logits."""
    clean = Made(
        model="tiny", n=N, labels=LABELS, logits=ranking(3), thresholds=(0.5, 0.3), **changes
    )
    corrupted = [
        replace(clean, perturbation="motion", severity=level, thresholds=None, logits=own)
        for level, own in ((1, ranking(3)), (3, ranking(2.5)), (5, blurred))
    ]
    return [clean, *corrupted]


def test_a_ranking_that_is_lost_at_equal_accuracy_fails_by_auc_alone(against: Compare) -> None:
    before, after = ranking(2), ranking(-0.1)
    areas = [metrics.auc(LABELS, own) for own in (before, after)]
    assert areas[0] > 0.9
    assert areas[1] < 0.56
    base, new = release(before), release(after, weights="b")
    blind = against(base, new)
    assert (blind.verdict, blind.exit_code) == ("indistinguishable", 0)
    assert all(e.base == e.new for e in blind.endpoints)
    result = against(base, new, metrics=("auc",))
    verdicts = {(e.family, e.metric): e.verdict for e in result.endpoints}
    assert verdicts == {("clean", "auc"): "indistinguishable", ("MR artefacts", "auc"): "worse"}
    assert result.exit_code == 1
    fallen = result.endpoints[1]
    assert fallen.name == "tiny · adrenalmnist3d · MR artefacts · AUC"
    others = [metrics.auc(LABELS, ranking(own)) for own in (3, 2.5)]
    assert fallen.base == pytest.approx(np.mean([*others, areas[0]]))
    assert fallen.new == pytest.approx(np.mean([*others, areas[1]]))
    assert "mean AUC" in render.explain(fallen, 0.02)


def test_holm_is_over_the_endpoints_of_all_metrics(against: Compare) -> None:
    base, new = release(ranking(2)), release(ranking(-0.1), weights="b")
    alone = against(base, new, metrics=("auc",))
    both = against(base, new, metrics=("accuracy", "auc", "accuracy"))
    assert [(e.family, e.metric) for e in both.endpoints] == [
        ("clean", "accuracy"),
        ("clean", "auc"),
        ("MR artefacts", "accuracy"),
        ("MR artefacts", "auc"),
    ]
    assert both.exit_code == 1
    levels = [
        next(e for e in result.endpoints if e.verdict == "worse").judgement.interval.level  # type: ignore[union-attr]
        for result in (alone, both)
    ]
    assert levels == [pytest.approx(1 - 0.05 / 2), pytest.approx(1 - 0.05 / 4)]
    assert "Holm over 4 endpoints" in render.headline(both)


@pytest.mark.parametrize("name", METRICS)
def test_an_endpoint_shows_the_mean_of_the_metric(against: Compare, name: str) -> None:
    from benchharness import statistics

    base, new = release(ranking(2)), release(ranking(1, seed=3), weights="b")
    result = against(base, new, metrics=(name,))
    for endpoint, cells in zip(result.endpoints, (slice(1), slice(1, 4)), strict=True):
        for side, shown in ((base, endpoint.base), (new, endpoint.new)):
            values = []
            for made in side[cells]:
                logits = made.predictions().logits
                called = statistics.sensitivity_and_specificity(
                    LABELS == 1, metrics.softmax(logits)[:, 1], 0.3
                )
                known = metrics.compute(LABELS, logits)[0] | {"sensitivity": called[0].value}
                values.append(known[name])
            assert shown == pytest.approx(np.mean(values))


def test_sensitivity_falls_at_the_frozen_threshold_where_argmax_sees_nothing(
    against: Compare,
) -> None:
    # Below 0.5 all of them, so that argmax calls nothing; above and below the threshold of 0.3.
    high, low = (np.where(LABELS == 1, own, 0.1) for own in (0.45, 0.2))
    base, new = release(logits_of(high)), release(logits_of(low), weights="b")
    assert against(base, new).exit_code == 0
    assert against(base, new, metrics=("auc",)).exit_code == 0
    result = against(base, new, metrics=("accuracy", "sensitivity"))
    worse = [e for e in result.endpoints if e.verdict == "worse"]
    assert [(e.family, e.metric) for e in worse] == [("MR artefacts", "sensitivity")]
    assert worse[0].judgement is not None
    assert worse[0].judgement.n == N // 2


def test_of_more_classes_sensitivity_is_the_mean_over_classes(against: Compare) -> None:
    labels = np.arange(90) % 3
    made = Made(model="tiny", n=90, labels=labels, classes=3, thresholds=(0.2, 0.3, 0.9))
    (endpoint,) = against([made], [made], metrics=("sensitivity",)).endpoints
    scores = metrics.softmax(made.predictions().logits)
    shares = [(scores[labels == k, k] > t).mean() for k, t in enumerate((0.2, 0.3, 0.9))]
    assert endpoint.base == pytest.approx(np.mean(shares))


def test_thresholds_that_new_does_not_keep_fail(against: Compare) -> None:
    base, new = release(ranking(2)), release(ranking(2), weights="b")
    new[0] = replace(new[0], thresholds=None)
    result = against(base, new, metrics=("accuracy", "sensitivity"))
    assert {e.metric for e in result.lost} == {"sensitivity"}
    assert (result.verdict, result.exit_code) == ("indistinguishable", 1)
    assert "no clean cell of NEW has frozen thresholds" in result.lost[0].reason
    assert against(new, base, metrics=("accuracy", "sensitivity")).exit_code == 0
    assert against(new, new, metrics=("sensitivity",)).exit_code == 2


def test_a_class_that_a_subset_lost_fails(against: Compare) -> None:
    whole = Made(model="tiny", n=N, labels=LABELS)
    part = replace(whole, n=1, of=N, labels=LABELS[:1])
    result = against([whole], [part], metrics=("accuracy", "auc"))
    assert [e.metric for e in result.lost] == ["auc"]
    assert result.exit_code == 1
    assert "class 1 has no volume" in result.lost[0].reason


def test_a_metric_that_misleads_in_a_cell_is_left_out_and_said(
    against: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = release(ranking(2))
    attack = replace(made[0], perturbation="pgd", severity=8 / 255, thresholds=None)
    plain = against([*made, attack], [*made, attack], metrics=("auc",))
    assert [e.verdict for e in plain.endpoints] == ["indistinguishable"] * 3
    real = Records.__getitem__

    def read(found: Records, identity: str) -> Record:
        record = real(found, identity)
        attacked = record.cell.perturbation.kind == "attack"
        return replace(record, undefined={"auc": "it stops early"}) if attacked else record

    monkeypatch.setattr(Records, "__getitem__", read)
    result = against([*made, attack], [*made, attack], metrics=("auc",))
    (silent,) = (e for e in result.endpoints if e.family == "L∞ attacks")
    assert (silent.verdict, silent.lost) == ("not comparable", False)
    assert silent.reason == "AUC is undefined: it stops early"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("f1",), "metric 'f1' is unknown"),
        (("accuracy", "acuracy"), "Did you mean 'accuracy'?"),
        ((), "a comparison needs a metric, got none."),
    ],
)
def test_an_unknown_metric_is_a_mistake(
    against: Compare, names: tuple[str, ...], message: str
) -> None:
    made = release(ranking(2))
    with pytest.raises(BenchError) as caught:
        against(made, made, metrics=names)
    assert message.split("'")[0] in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy"])
@pytest.mark.parametrize(("negatives", "positives"), [(30, 30), (60, 15), (150, 150)])
@pytest.mark.parametrize(("area", "shared"), [(0.8, 0.5), (0.97, 0.5), (0.8, 0.98)])
def test_coverage_of_endpoints_by_class(
    metric: str, negatives: int, positives: int, area: float, shared: float
) -> None:
    """Two equally good models are told apart in at most about 5 % of samples."""
    from scipy import stats

    from benchharness import statistics
    from benchharness.comparison.contributions import reach
    from benchharness.statistics.resampling import contributions

    draws = np.random.default_rng(0)
    labels = np.repeat([0, 1], [negatives, positives])
    distance = np.sqrt(2) * stats.norm.ppf(area)
    alarms, replicates = 0, 500
    for _ in range(replicates):
        common = draws.normal(size=len(labels))
        both = []
        for _ in range(2):
            own = draws.normal(size=len(labels))
            score = distance * (labels - 0.5) + np.sqrt(shared) * common
            score = score + np.sqrt(1 - shared) * own
            logits = np.stack([-score / 2, score / 2], axis=1)
            both.append(contributions(metric, labels, logits))
        gaps = both[1] - both[0]
        (found,) = statistics.judge([statistics.Sample(values=gaps, reach=reach(metric, gaps))])
        alarms += found.outcome != "indistinguishable"
    rate = 100 * alarms / replicates
    row = f"gate, {metric} | {negatives} + {positives}, AUC {area}, models share {shared:.0%}"
    print(f"| {row} | {rate:.1f} |")  # noqa: T201
    assert rate < 7.5
