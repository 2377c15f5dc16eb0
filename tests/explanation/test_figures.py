"""Figures of heat maps: the right slices, the box where the structure is, for any shape."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from benchharness.explanation import figures

DRAWS = np.random.Generator(np.random.PCG64(0))


def panel(shape: tuple[int, int, int], heat: float = 1.0) -> figures.Panel:
    volume = DRAWS.uniform(0.2, 0.4, shape).astype(np.float32)
    hot = np.zeros(shape, np.float32)
    hot[tuple(size // 2 for size in shape)] = heat
    return figures.Panel(volume=volume, heat=hot, answer="ring 0.93", right=False)


def pixels(png: bytes) -> np.ndarray:
    drawn: np.ndarray = imread(io.BytesIO(png))[..., :3]
    return drawn


def green(drawn: np.ndarray) -> int:
    red, shade, blue = np.moveaxis(drawn, -1, 0)
    return int((shade > np.maximum(red, blue) + 0.2).sum())


@pytest.mark.parametrize("shape", [(12, 12, 12), (1, 12, 12), (6, 9, 12)])
def test_every_shape_is_drawn_and_the_same_again(shape: tuple[int, int, int]) -> None:
    rows = [("net", [panel(shape), panel(shape)]), ("other", [panel(shape), panel(shape, 0)])]
    drawn = figures.draw("volume 7", ["clean", "pgd 8/255"], rows, None)
    assert drawn == figures.draw("volume 7", ["clean", "pgd 8/255"], rows, None)
    assert green(pixels(drawn)) == 0
    mask = np.zeros(shape, bool)
    mask[..., 3:6, 3:6] = True
    boxed = figures.draw("volume 7", ["clean", "pgd 8/255"], rows, mask)
    assert green(pixels(boxed)) > 50
    # An image of depth 1 has only its axial slice, and a narrower figure.
    whole = figures.draw("volume 7", ["clean"], [("net", [panel((12, 12, 12))])], None)
    narrow = figures.draw("volume 7", ["clean"], [("net", [panel(shape)])], None)
    assert (pixels(narrow).shape[1] < pixels(whole).shape[1]) == (shape[0] == 1)


def test_slices_go_through_the_largest_cross_section_or_the_peak() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[2, 3:9, 3:9] = True
    mask[3:6, 5, 7] = True
    assert figures.slices(mask, []) == (2, 5, 7)
    hot = np.zeros((10, 10, 10), np.float32)
    hot[8, 1, 4] = 3
    assert figures.slices(None, [hot, hot * 0]) == (8, 1, 4)
    assert figures.slices(mask & False, [hot * 0]) == (5, 5, 5)


def test_a_map_is_divided_by_its_own_maximum() -> None:
    assert figures.normalised(np.asarray([[[2.0, 4.0]]], np.float32)).tolist() == [[[0.5, 1.0]]]
    assert not figures.normalised(np.zeros((1, 1, 2), np.float32)).any()
