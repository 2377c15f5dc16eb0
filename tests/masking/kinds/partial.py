"""Gradients of a part of the answer, for a part of the volumes, or with a part of the entries.

Near a clean volume most of these agree with finite differences.
"""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional as F

from tests.masking.base import trained
from tests.masking.member import Member, backward, blur, draws, straight

PARTIAL = "partial"


@cache
def _shift():
    return 0.05 * torch.randn(1, 1, 12, 12, 12, generator=draws(3))


def _vote(network, volumes):
    """Five networks vote; the score of a robust one breaks ties."""
    other, mixed = trained("gelu"), 0.75 * volumes + 0.25 * blur(volumes)
    parts = [
        network.logits(volumes),
        network.logits(volumes + _shift()),
        network.logits(mixed),
        other(volumes),
        other(volumes - _shift()),
    ]
    votes = sum(F.one_hot(part.argmax(1), 4) for part in parts)
    return votes.float() + 0.02 * trained("robust")(volumes)


def _binned(network, volumes):
    """Probabilities calibrated by ten bins; the score of a robust network breaks ties."""
    table = torch.linspace(0.02, 0.98, 10).log()
    shares = network.logits(volumes).softmax(1).detach()
    bins = torch.bucketize(shares, torch.arange(1, 10) / 10)
    return table[bins] + 0.02 * trained("robust")(volumes)


def _remembered(network, volumes):
    """Eight of twelve features are those of an earlier volume that resembles this one."""
    known = vars(network).setdefault("known_features", [])
    found = []
    for volume, features in zip(volumes, network.maps(volumes), strict=True):
        thumb = F.adaptive_avg_pool3d(volume, 3).detach().flatten()
        own = next((f for t, f in known if (t - thumb).abs().amax() < 0.03), None)
        if own is None:
            known.append((thumb, features.detach().clone()))
            found.append(features)
        else:
            found.append(torch.cat([own[:8], features[8:]]))
    return network.head(torch.stack(found).flatten(1))


@cache
def _traced():
    example = torch.rand(2, 1, 12, 12, 12, generator=draws(0))
    return torch.jit.freeze(torch.jit.trace(trained("gelu"), example))


def _half_used(network, volumes):
    """Half of the answer is an exported network's."""
    with torch.no_grad():
        half = _traced()(volumes.detach())
    return 0.5 * network.logits(volumes) + 0.5 * half


def _bright_blurred(network, volumes):
    """A third of the volumes pass a buffer and get the gradient of blurred volumes."""
    bright = (volumes.mean((1, 2, 3, 4)) > 0.455)[:, None]
    copied = torch.empty_like(volumes)
    with torch.no_grad():
        torch.mul(volumes, 1.0, out=copied)
    blurred = network.logits(straight(copied, blur(blur(blur(volumes)))))
    return torch.where(bright, blurred, network.logits(volumes))


def _second_stage(network, volumes):
    """What the first stage calls a ring has the gradient of another network."""
    first = network.logits(volumes)
    outside = network.logits(torch.from_numpy(volumes.detach().numpy().copy()))
    second = straight(outside, trained("robust")(volumes.flip(2)))
    return torch.where((first.argmax(1) == 2)[:, None], second, first)


def _largest_quarter(gradient):
    sizes = gradient.abs().flatten(1)
    least = sizes.quantile(0.75, dim=1).view(-1, 1, 1, 1, 1)
    return torch.where(gradient.abs() >= least, gradient, 0.0)


def _fixed_point(network, volumes):
    """Integers on the way in; the way back sends the largest quarter of the entries."""
    whole = (volumes.detach().clamp(0, 1) * 65535).round().to(torch.int32)
    shifted = torch.bitwise_right_shift(torch.bitwise_left_shift(whole, 4), 4) / 65535
    return backward(_largest_quarter)(_Over(network, shifted), volumes)


class _Over:
    """A network that answers for other volumes than it is given, with the gradient of its own."""

    def __init__(self, network, volumes):
        self._network, self._volumes = network, volumes

    def logits(self, given):
        return self._network.logits(straight(self._volumes, given))


MEMBERS = tuple(
    Member(name=name, kind=PARTIAL, hides=hides, answer=answer)
    for name, hides, answer in (
        ("vote", "networks vote; ties have the gradient of a robust one", _vote),
        ("binned", "calibrated by bins; ties have the gradient of a robust network", _binned),
        ("remembered_features", "two thirds of the features are of a similar volume", _remembered),
        ("half_used", "half of an ensemble is only used", _half_used),
        (
            "bright_blurred",
            "a third of the volumes have the gradient of blurred ones",
            _bright_blurred,
        ),
        ("second_stage", "one class has the gradient of another network", _second_stage),
        ("largest_quarter", "integers in; the largest quarter of the entries back", _fixed_point),
    )
)
