"""Inputs that are shattered before the network sees them."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from tests.masking.member import Member, before, content, draws, fixed, straight
from tests.masking.task import SIZE

KIND = "shattered input"


def _quantised(levels):
    return lambda x: (x * (levels - 1)).round() / (levels - 1) + 0 * x


def _thermometer(x):
    """The mean of sixteen thresholds, as a thermometer code shows it to a convolution."""
    limits = (torch.arange(16) + 0.5) / 16
    return (x[..., None] > limits).float().mean(-1) + 0 * x


def _cosines():
    place, frequency = torch.arange(SIZE)[None], torch.arange(SIZE)[:, None]
    rows = torch.cos(math.pi * (place + 0.5) * frequency / SIZE)
    return rows / rows.norm(dim=1, keepdim=True)


def _jpeg(x):
    """Cosine coefficients rounded to 0.1."""
    basis = _cosines().to(x)
    coefficients = torch.einsum("bcdhw,id,jh,kw->bcijk", x, basis, basis, basis)
    rounded = (coefficients * 10).round() / 10
    return torch.einsum("bcijk,id,jh,kw->bcdhw", rounded, basis, basis, basis) + 0 * x


def _median(x):
    """Over three voxels of a row."""
    return F.pad(x, (1, 1, 0, 0, 0, 0), mode="replicate").unfold(-1, 3, 1).median(-1).values


def _resized(x):
    """To a grid that a hash of the volume chooses, and back."""
    parts = []
    for volume in x.split(1):
        size = int(torch.randint(10, SIZE, (1,), generator=draws(content(volume))))
        small = F.interpolate(volume, size=(size,) * 3, mode="trilinear")
        parts.append(F.interpolate(small, size=x.shape[2:], mode="trilinear"))
    return torch.cat(parts)


def _dithered(x):
    return (x * 15 + fixed(x.shape[1:]) - 0.5).round() / 15 + 0 * x


def _patches(x):
    """Each pair of voxels replaced by its mean, rounded to sixteen levels."""
    means = F.avg_pool3d(x, (1, 1, 2))
    return _quantised(16)(means).repeat_interleave(2, -1)


def _half_straight(x):
    return straight((x * 15).round() / 15, x.flip(2))


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=hides, answer=before(change), rule=rule)
    for name, hides, change, rule in (
        ("quantised_256", "256 levels", _quantised(256), "masked"),
        ("quantised_32", "32 levels", _quantised(32), "masked"),
        ("quantised_8", "8 levels", _quantised(8), "masked"),
        ("binarised", "a threshold at 0.55", lambda x: (x > 0.55).float() + 0 * x, "masked"),
        ("thermometer", "sixteen thresholds", _thermometer, "masked"),
        ("jpeg", "cosine coefficients rounded", _jpeg, "masked"),
        ("median", "a median of three voxels: its gradient is right", _median, "either"),
        ("resized", "resized as a hash of the volume says", _resized, "masked"),
        ("dithered", "4 bits after a fixed dither", _dithered, "masked"),
        ("rounded_pairs", "means of two voxels, rounded", _patches, "masked"),
        (
            "cancelled",
            "x + 2¹⁷ − 2¹⁷ in float32: rounded to 1/64",
            lambda x: (x + 2**17) - 2**17,
            "either",
        ),
        (
            "wrong_straight_through",
            "rounded; the gradient of the flipped",
            _half_straight,
            "masked",
        ),
        (
            "straight_through",
            "16 levels with the identity's gradient: BPDA built in",
            lambda x: straight((x * 15).round() / 15, x),
            "either",
        ),
    )
)
