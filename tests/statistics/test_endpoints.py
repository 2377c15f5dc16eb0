"""Endpoints: Holm's levels, what a verdict needs, and how often it is false."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from benchharness import statistics
from benchharness.errors import BenchError
from benchharness.statistics import judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def gaps(lost: int, won: int, n: int = 300) -> Floats:
    """One value per volume: −1 for `lost`, +1 for `won`, 0 for the rest."""
    return np.repeat([-1.0, 1.0, 0.0], [lost, won, n - lost - won])


def test_nothing_that_differs_is_indistinguishable() -> None:
    (found,) = judge([gaps(0, 0)], tolerance=0.02)
    assert (found.outcome, found.difference, found.p_value) == ("indistinguishable", 0.0, 1.0)
    # Only the two imagined volumes differ: s = √2/302, in steps of 1/302.
    assert (found.interval.low, found.interval.high) == pytest.approx((-3 / 302, 3 / 302))
    reach = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(2) / 302
    assert found.detectable == pytest.approx(0.02 + reach, rel=0.05)


@pytest.mark.parametrize(
    ("lost", "won", "tolerance", "outcome"),
    [
        (60, 10, 0.02, "worse"),
        (10, 60, 0.02, "better"),
        (60, 10, 0.13, "indistinguishable"),
        (5, 0, 0.0, "indistinguishable"),
        (30, 28, 0.0, "indistinguishable"),
    ],
)
def test_a_verdict_needs_an_interval_wholly_beyond_the_tolerance(
    lost: int, won: int, tolerance: float, outcome: str
) -> None:
    (found,) = judge([gaps(lost, won)], tolerance=tolerance)
    beyond = found.interval.high < -tolerance or found.interval.low > tolerance
    assert (found.outcome, beyond) == (outcome, outcome != "indistinguishable")
    assert (found.p_value <= 0.05) == beyond


def test_the_interval_is_about_that_of_bonett_and_price() -> None:
    (found,) = judge([gaps(40, 25)])
    right = np.repeat([True, False, False], [25, 40, 235])
    other = np.repeat([False, True, False], [25, 40, 235])
    exact = statistics.mcnemar_exact(right, other).interval
    assert found.interval.low == pytest.approx(exact.low, abs=0.004)
    assert found.interval.high == pytest.approx(exact.high, abs=0.004)


def test_many_volumes_are_resampled_by_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = np.random.default_rng(1).integers(-1, 2, (3, 400)).astype(float).mean(axis=0)
    (found,) = judge([cells])
    monkeypatch.setattr("benchharness.statistics.endpoints._MANY", 100)
    (counted,) = judge([cells])
    assert counted.difference == found.difference
    assert counted.interval.low == pytest.approx(found.interval.low, abs=0.004)
    assert counted.interval.high == pytest.approx(found.interval.high, abs=0.004)
    assert counted.detectable == pytest.approx(found.detectable, rel=0.03)
    assert judge([np.tile(cells, 20)])[0].n == 8000


def test_levels_are_those_of_holm() -> None:
    found = judge([gaps(30, 28), gaps(90, 5), gaps(35, 12), gaps(28, 14)], alpha=0.04)
    assert [one.interval.level for one in found] == pytest.approx([0.98, 0.99, 1 - 0.04 / 3, 0.98])
    assert [one.outcome for one in found] == [
        "indistinguishable",
        "worse",
        "worse",
        "indistinguishable",
    ]
    assert found[3].p_value < 0.04, "alone it would have been told apart"
    adjusted = statistics.holm([one.p_value for one in found])
    assert tuple(one.p_adjusted for one in found) == adjusted


def test_fractions_are_means_over_cells_and_order_does_not_matter() -> None:
    draws = np.random.default_rng(0)
    cells = draws.integers(-1, 2, (5, 200)).astype(float)
    (found,) = judge([cells.mean(axis=0)])
    assert found.difference == pytest.approx(cells.mean())
    (again,) = judge([cells.mean(axis=0)])
    assert again == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 1.0}, "the tolerance must lie in"),
        ({"alpha": 0.0}, "alpha must lie between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        judge([gaps(1, 1)], **arguments)


def test_an_endpoint_without_volumes_is_refused() -> None:
    with pytest.raises(BenchError, match="an endpoint needs volumes"):
        judge([np.zeros(0)])
    assert judge([]) == ()


# How often a verdict is false, or right.


def equal_models(
    seed: int, endpoints: int, cells: int, shared: float, n: int = 300
) -> list[Floats]:
    """Gaps of two models of accuracy 0.7 that agree by `shared` of their noise.

    Half of what they share is the volume's own, so that cells and endpoints are correlated.
    """
    draws = np.random.default_rng([seed, endpoints, cells])
    size = (endpoints, cells, n)
    common = (draws.normal(size=n) + draws.normal(size=size)) * math.sqrt(shared / 2)
    one, other = (common + math.sqrt(1 - shared) * draws.normal(size=size) for _ in range(2))
    limit = stats.norm.ppf(0.7)
    found: Floats = ((one < limit).astype(float) - (other < limit)).mean(axis=1)
    return list(found)


def alarms(replicates: int, endpoints: int, cells: int, shared: float, tolerance: float) -> float:
    """How often any endpoint of two equal models is told apart."""
    told = sum(
        any(
            found.outcome != "indistinguishable"
            for found in judge(equal_models(seed, endpoints, cells, shared), tolerance=tolerance)
        )
        for seed in range(replicates)
    )
    return told / replicates


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@pytest.mark.parametrize("shared", [0.5, 0.98])
def test_the_gate_seldom_cries_wolf(shared: float) -> None:
    # 150 replicates have a standard error of 0.018 at 0.05.
    assert alarms(150, 3, 4, shared, tolerance=0.0) <= 0.08
    assert alarms(30, 3, 4, shared, tolerance=0.02) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("endpoints", "cells", "shared", "tolerance"),
    [
        (1, 1, 0.5, 0.0),
        (1, 1, 0.98, 0.0),
        (6, 3, 0.5, 0.0),
        (6, 3, 0.98, 0.0),
        (6, 3, 0.5, 0.02),
    ],
)
def test_coverage_of_the_gate_over_2000_null_pairs(
    endpoints: int, cells: int, shared: float, tolerance: float
) -> None:
    share = alarms(2000, endpoints, cells, shared, tolerance)
    setting = (
        f"false alarms, n 300, {_count(endpoints, 'endpoint')} of {_count(cells, 'cell')}, "
        f"models share {shared:.0%} of their noise, tolerance {tolerance:g}"
    )
    print(f"\n| gate | {setting} | {100 * share:.1f} |")  # noqa: T201
    assert share <= 0.05


@pytest.mark.parametrize("tolerance", [0.0, 0.02])
def test_the_detectable_difference_is_found_four_times_in_five(tolerance: float) -> None:
    discordance, n = 0.2, 300
    (seen,) = judge([gaps(30, 30)], tolerance=tolerance)
    delta = seen.detectable
    draws = np.random.default_rng(5)
    chances = [(discordance + delta) / 2, (discordance - delta) / 2, 1 - discordance]
    told = 0
    for _ in range(300):
        lost, won, _ = draws.multinomial(n, chances)
        told += judge([gaps(lost, won)], tolerance=tolerance)[0].outcome == "worse"
    # A standard error of 0.023; the variance falls a little as the difference grows.
    assert 0.73 <= told / 300 <= 0.9
