"""Draws and extents that artefacts share."""

import torch

from benchharness.artefacts import draws, extents


def test_no_signed_draw_is_near_zero():
    drawn = draws.signed(torch.Generator().manual_seed(0), 2.0, 500)
    assert float(drawn.abs().min()) >= 1
    assert float(drawn.abs().max()) < 2
    assert 150 < int((drawn > 0).sum()) < 350


def test_the_foreground_s_box_is_tight():
    x = torch.zeros(1, 9, 9, 9)
    x[:, 2:5, 3:4, 1:9] = 1
    assert extents.foreground_box(x) == (slice(2, 5), slice(3, 4), slice(1, 9))
    assert extents.foreground_box(torch.zeros(1, 2, 3, 4)) == (
        slice(0, 2),
        slice(0, 3),
        slice(0, 4),
    )
