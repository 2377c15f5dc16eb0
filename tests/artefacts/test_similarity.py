"""SSIM and PSNR beside scikit-image."""

import numpy as np
import pytest

from tests.artefacts.similarity import psnr, ssim, window

metrics = pytest.importorskip("skimage.metrics")


@pytest.mark.parametrize("size", [28, 32])
def test_they_equal_scikit_image(size):
    random = np.random.default_rng(size)
    one = random.random((size, size, size))
    other = np.clip(one + random.normal(0, 0.2, one.shape), 0, 1)
    expected = metrics.structural_similarity(one, other, data_range=1, win_size=size // 4 - 1 | 1)
    assert ssim(one, other) == pytest.approx(expected, abs=1e-9)
    assert psnr(one, other) == pytest.approx(
        metrics.peak_signal_noise_ratio(one, other, data_range=1)
    )


def test_equal_volumes_are_wholly_similar():
    volume = np.random.default_rng(0).random((9, 12, 16))
    assert ssim(volume, volume) == pytest.approx(1)
    assert psnr(volume, volume) == float("inf")


def test_the_window_is_a_quarter_rounded_to_odd():
    assert window((28, 64, 1)) == (7, 15, 1)
