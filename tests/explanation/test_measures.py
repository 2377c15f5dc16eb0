"""Measures of heat maps on maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchharness.explanation import measures


def blob(*centre: int, size: int = 9, width: float = 1.5) -> np.ndarray:
    """A Gaussian around a voxel."""
    places = np.indices((size, size, size))
    distances = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
    return np.exp(-distances / (2 * width**2)).astype(np.float32)


MASK = np.zeros((9, 9, 9), bool)
MASK[2:5, 2:5, 2:5] = True


def test_a_map_points_at_its_peak() -> None:
    maps = np.stack([blob(3, 3, 3), blob(3, 3, 7), np.zeros((9, 9, 9), np.float32)])
    assert measures.peaks(maps).tolist() == [[3, 3, 3], [3, 3, 7], [-1, -1, -1]]
    assert measures.hits(maps, np.stack([MASK] * 3)).tolist() == [True, False, False]
    assert measures.empty(maps).tolist() == [False, False, True]


def test_a_plateau_points_at_its_middle() -> None:
    maps = np.zeros((1, 9, 9, 9), np.float32)
    maps[0, 2:7, 2:7, 2:7] = 1
    assert measures.peaks(maps).tolist() == [[4, 4, 4]]
    assert measures.peaks(measures.centre_box((9, 9, 9))).tolist() == [[4, 4, 4]]


def test_energy_inside_is_a_share() -> None:
    half = np.zeros((9, 9, 9), np.float32)
    half[2, 2, 2], half[8, 8, 8] = 3, 1
    flat = np.ones((9, 9, 9), np.float32)
    maps = np.stack([half, flat, MASK.astype(np.float32), flat * 0])
    inside = measures.energy_inside(maps, np.stack([MASK] * 4))
    assert inside == pytest.approx([0.75, 27 / 729, 1, 0])
    assert inside == pytest.approx(measures.energy_inside(maps * 5, np.stack([MASK] * 4)))


@pytest.mark.parametrize("grid", [(28, 28, 28), (64, 64, 64), (1, 28, 28), (5, 8, 12)])
def test_the_centre_box_is_half_of_every_axis(grid: tuple[int, int, int]) -> None:
    (box,) = measures.centre_box(grid)
    assert box.shape == grid
    for axis in range(3):
        filled = np.flatnonzero(box.any(axis=tuple(a for a in range(3) if a != axis)))
        if grid[axis] == 1:
            assert filled.tolist() == [0]
            continue
        assert abs(len(filled) / grid[axis] - measures.BOX_SIDE) <= 1 / grid[axis]
        assert filled[0] + filled[-1] == grid[axis] - 1


def test_rank_correlation_is_spearmans() -> None:
    draws = np.random.Generator(np.random.PCG64(0))
    first = np.maximum(draws.normal(size=(3, 4, 5, 6)), 0).astype(np.float32)
    second = np.maximum(first + draws.normal(size=first.shape), 0).astype(np.float32)
    expected = [
        stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)
    ]
    assert measures.rank_correlation(first, second) == pytest.approx(expected)
    assert measures.rank_correlation(first, first**3) == pytest.approx([1, 1, 1])
    assert np.isnan(measures.rank_correlation(first, first * 0)).all()


def test_a_centroid_moves_with_its_map() -> None:
    first = np.zeros((3, 10, 20, 30), np.float32)
    second = np.zeros_like(first)
    first[:, 5, 5, 5] = 2
    second[0, 8, 5, 5], second[1, 5, 9, 5] = 7, 1
    shift = measures.centroid_shift(first, second)
    assert shift[:2] == pytest.approx([3 / 10, 4 / 20])
    assert np.isnan(shift[2])
    assert measures.centroid_shift(first, first) == pytest.approx([0, 0, 0])


def test_estimates_say_how_many_volumes_they_rest_on() -> None:
    found = measures.share(np.asarray([True] * 8 + [False] * 2))
    assert (found.value, found.n, found.method) == (0.8, 10, "Wilson")
    assert found.low is not None
    assert found.low < 0.8
    values = np.asarray([0.0, 1.0] * 50 + [np.nan] * 3)
    found = measures.mean(values)
    assert (found.value, found.n) == (0.5, 100)
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.02)
    assert measures.mean(values) == found
    assert measures.mean(np.asarray([np.nan])).value is None
    assert measures.mean(np.asarray([0.3])).low is None
