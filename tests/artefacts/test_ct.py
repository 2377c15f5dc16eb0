"""Tomography: projection and reconstruction undo each other."""

import numpy as np

from benchharness.artefacts import tomography


def test_reconstruction_from_all_views_gives_the_slices_back():
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    disc = np.exp(-8 * (x**2 + y**2))[None]
    again = tomography.reconstruct(disc, np.ones(64))
    assert np.abs(again - disc).max() < 0.05
    few = tomography.reconstruct(disc, np.where(np.arange(64) % 8 == 0, 8.0, 0.0))
    assert np.abs(few - again).max() > 0.05
