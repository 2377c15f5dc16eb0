"""Branches without a gradient, gradients that vanish, and answers that are looked up."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from tests.masking.base import trained
from tests.masking.member import Member, blur, draws, straight
from tests.masking.train import arrays

DETACHED, VANISHING, LOOKUP = "detached", "vanishing", "lookup"


def _faint(network, volumes):
    """Decides by a branch that no gradient reaches; a faint other one leads elsewhere."""
    decides = network.logits(volumes.detach())
    leads = volumes.flatten(1)[:, :1] * 1e-4
    return decides + leads * torch.arange(decides.shape[1])


def _one_channel(network, volumes):
    found = network.maps(volumes)
    cut = found.detach().clone()
    cut[:, :1] = found[:, :1]
    return network.head(cut.flatten(1))


def _through_numpy(network, volumes):
    return network.logits(torch.from_numpy(volumes.detach().numpy().copy()))


def _of_the_mean(network, volumes):
    return network.logits(straight(volumes, volumes.mean((2, 3, 4), keepdim=True) + 0 * volumes))


def _half(network, volumes):
    """float16 on the way in, and logits so small that the way back underflows."""
    return network.logits(volumes.half().float()) * 1e-6


def _underflow(network, volumes):
    return network.logits(volumes) * 1e-42


def _hard_features(network, volumes):
    """Features rounded, as with integer arithmetic."""
    found = network.maps(volumes)
    return network.head(((found * 2).round() / 2 + 0 * found).flatten(1))


def _saturated(network, volumes):
    """A steep function of intensity that is flat except within 0.002 of its steps."""
    steps = volumes * 16
    within = torch.sigmoid(300 * (torch.frac(steps) - 0.5))
    return network.logits((steps.floor() + within) / 16)


def _kept_relu(network, volumes):
    """Dead units: the gradient of all but the strongest twentieth of the features is cut."""
    found = network.maps(volumes)
    limit = found.detach().flatten(1).quantile(0.95, dim=1).reshape(-1, 1, 1, 1, 1)
    return network.head(torch.where(found > limit, found, found.detach()).flatten(1))


@cache
def _known():
    """Features (256, F) of training volumes, and their classes."""
    volumes, labels = arrays("train")
    network = trained("base")
    with torch.no_grad():
        return network.maps(volumes[:256]).flatten(1), labels[:256]


def _neighbours(network, volumes):
    """Votes of the seven nearest training volumes."""
    features, labels = _known()
    found = network.maps(volumes).flatten(1)
    near = torch.cdist(found, features).topk(7, largest=False).indices
    return nn.functional.one_hot(labels[near], 4).float().sum(1) + 0 * found.sum(1, keepdim=True)


def _soft_neighbours(network, volumes):
    """The same votes, and the gradient of the distance to the nearest alone."""
    features, _ = _known()
    found = network.maps(volumes).flatten(1)
    distance = torch.cdist(found, features).amin(1, keepdim=True)
    return straight(_neighbours(network, volumes), distance * torch.arange(4.0))


def _codes(network, volumes):
    """Each voxel's answer is looked up by its eight bits and a noise of the code."""
    table = torch.arange(256) / 255 + 0.02 * torch.randn(256, generator=draws(0))
    return network.logits(table[(255 * volumes.clamp(0, 1)).long()] + 0 * volumes)


def _blurred_way_back(network, volumes):
    return network.logits(straight(volumes, blur(blur(blur(volumes)))))


MEMBERS = tuple(
    Member(name=name, kind=kind, hides=hides, answer=answer, rule=rule)
    for name, kind, hides, answer, rule in (
        ("detached", DETACHED, "the branch that decides", _faint, "masked"),
        ("one_channel", DETACHED, "all channels but one", _one_channel, "masked"),
        ("through_numpy", DETACHED, "everything: the graph is cut", _through_numpy, "masked"),
        ("mean_only", DETACHED, "all but the mean intensity", _of_the_mean, "masked"),
        ("blurred_back", DETACHED, "the gradient's fine structure", _blurred_way_back, "masked"),
        ("half_underflow", VANISHING, "gradients below float16", _half, "masked"),
        ("underflow", VANISHING, "logits of 1e-42", _underflow, "masked"),
        ("rounded_features", VANISHING, "features rounded to 0.5", _hard_features, "masked"),
        ("staircase", VANISHING, "a smooth staircase of 16 steps", _saturated, "masked"),
        ("strongest_only", VANISHING, "the gradient of weak features", _kept_relu, "masked"),
        ("neighbours", LOOKUP, "seven nearest training volumes vote", _neighbours, "masked"),
        ("soft_neighbours", LOOKUP, "the same with another gradient", _soft_neighbours, "masked"),
        ("table", LOOKUP, "intensities looked up in a noisy table", _codes, "masked"),
    )
)
