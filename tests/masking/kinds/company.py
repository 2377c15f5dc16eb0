"""Networks whose answer depends on what else is passed, or was passed before."""

from __future__ import annotations

import torch
from torch import nn

from tests.masking.base import trained
from tests.masking.member import Member, after, before, straight

BATCH, DETECTOR, STATE = "batch", "detector", "state"


def _training_mode(momentum):
    def answer(network, volumes):
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.training, layer.momentum = True, momentum
        return network.logits(volumes)

    return answer


def _standardised(volumes):
    """A z-score over the batch."""
    middle, spread = volumes.mean(), volumes.std()
    return (volumes - middle) / spread * 0.13 + 0.47


def _other(network, volumes, when):
    return trained("robust")(volumes.flip(2)) if when else network.logits(volumes)


def _seen_before(network, volumes):
    """Nearly the volumes of the first pass get the answers of the first pass."""
    known = vars(network).setdefault("known", [])
    answers = network.logits(volumes)
    for first, found in known:
        if first.shape == volumes.shape and (first - volumes).abs().amax() < 0.1:
            return straight(found, 1e-3 * answers.flip(1))
    known.append((volumes.detach().clone(), answers.detach()))
    return answers


def _counting(network, volumes):
    """Every other pass answers for the flipped volume."""
    vars(network)["passes"] = vars(network).get("passes", 0) + 1
    return _other(network, volumes, vars(network)["passes"] % 2 == 0)


def _worn_off(network, volumes):
    """The gradient is right for the first forty passes."""
    vars(network)["passes"] = vars(network).get("passes", 0) + 1
    seen = network.logits(volumes)
    return straight(seen, -seen) if vars(network)["passes"] > 40 else seen


def _counting_in_a_buffer(network, volumes):
    with torch.no_grad():
        network.features[1].num_batches_tracked += 1
    shift = 0.02 * torch.sin(network.features[1].num_batches_tracked.float())
    return network.logits(volumes + shift)


def _drifting(network, volumes):
    with torch.no_grad():
        network.head.bias.add_(0.01)
    return network.logits(volumes)


def _written_over(network, volumes):
    volumes.data.mul_(0.98)
    return network.logits(volumes)


def _clamped_in_place(network, volumes):
    return network.logits(volumes.clamp_(0.2, 0.8))


MEMBERS = tuple(
    Member(name=name, kind=kind, hides=hides, answer=answer)
    for name, kind, hides, answer in (
        ("train_mode", BATCH, "BatchNorm left in training mode", _training_mode(0.1)),
        ("batch_statistics", BATCH, "the same without touching buffers", _training_mode(0.0)),
        ("batch_z_score", BATCH, "intensities standardised over the batch", before(_standardised)),
        (
            "batch_prior",
            BATCH,
            "the batch's mean logits subtracted",
            after(lambda z: z - z.mean(0)),
        ),
        (
            "neighbour",
            BATCH,
            "half of the next volume's logits",
            after(lambda z: z + 0.5 * z.roll(1, 0)),
        ),
        (
            "batch_mean",
            BATCH,
            "the batch's mean volume subtracted",
            before(lambda x: x - x.mean(0) + 0.5),
        ),
        (
            "on_requires_grad",
            DETECTOR,
            "answers otherwise when a gradient is asked for",
            lambda network, x: _other(network, x, x.requires_grad),
        ),
        (
            "on_grad_mode",
            DETECTOR,
            "answers otherwise while gradients are enabled",
            lambda network, x: _other(network, x, torch.is_grad_enabled()),
        ),
        (
            "alone",
            DETECTOR,
            "answers otherwise to one volume",
            lambda network, x: _other(network, x, len(x) == 1),
        ),
        (
            "few",
            DETECTOR,
            "answers otherwise to more than eight volumes",
            lambda network, x: _other(network, x, len(x) > 8),
        ),
        (
            "on_a_grid",
            DETECTOR,
            "answers otherwise to volumes that are not k/255",
            lambda network, x: _other(
                network, x, bool(((255 * x).round() - 255 * x).abs().max() > 0.01)
            ),
        ),
        ("seen_before", STATE, "remembers volumes and answers as before", _seen_before),
        ("counting", STATE, "every other pass is wrong; counts in an attribute", _counting),
        ("worn_off", STATE, "the gradient's sign, after forty passes", _worn_off),
        ("counting_buffer", STATE, "counts in a buffer", _counting_in_a_buffer),
        ("drifting", STATE, "a bias that grows with each pass", _drifting),
        ("writes_input", STATE, "darkens the volumes it is given", _written_over),
        ("clamps_in_place", STATE, "clamps the volumes it is given", _clamped_in_place),
    )
)
