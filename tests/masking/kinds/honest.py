"""Networks that hide nothing and must never be marked."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.masking.base import trained
from tests.masking.member import Member, after, before, blur

KIND = "honest"


def _cast(dtype):
    def answer(network, volumes):
        with torch.autocast("cpu", dtype):
            return network.logits(volumes)

    return answer


def _z_score(x):
    middle = x.mean((1, 2, 3, 4), keepdim=True)
    spread = x.std((1, 2, 3, 4), keepdim=True)
    return (x - middle) / spread * 0.13 + 0.47


def _double(network, volumes):
    weights = {name: value.double() for name, value in network.named_parameters()}
    weights |= {
        name: value.double() if value.is_floating_point() else value
        for name, value in network.named_buffers()
    }
    plain = trained("base")
    return torch.func.functional_call(plain, weights, (volumes.double(),))


def _constant(network, volumes):
    return network.logits(volumes) * 0 + torch.tensor([2.0, 0.0, 0.0, -1.0])


def _almost_random(network, volumes):
    """Decided by the sign of single voxels' differences, whatever the class."""
    found = volumes.flatten(1)
    return torch.stack([found[:, place] - found[:, place + 700] for place in range(4)], 1)


def _softened(x):
    return 0.75 * x + 0.25 * blur(x)


def _cosine(network, volumes):
    found = F.normalize(network.maps(volumes).flatten(1))
    return 10 * found @ F.normalize(network.head.weight).T


def _rounded_weights(network, volumes):
    weights = {
        name: (value / (unit := value.abs().amax() / 127)).round() * unit
        for name, value in network.named_parameters()
    }
    return torch.func.functional_call(trained("base"), weights, (volumes,))


def _bounded_features(network, volumes):
    return network.head((5 * torch.tanh(network.maps(volumes) / 5)).flatten(1))


def _fewer_classes(network, volumes):
    """A class that is never answered, as where a task has fewer than the head."""
    return network.logits(volumes) * torch.tensor([1.0, 1, 1, 0]) - torch.tensor([0.0, 0, 0, 50])


def _upsampled(x):
    finer = F.interpolate(x, scale_factor=2, mode="trilinear")
    return F.avg_pool3d(finer, 2)


def _recomputed(network, volumes):
    return checkpoint(network.logits, volumes, use_reentrant=False)


def _unmasked(network, volumes):
    return network.logits(volumes)


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=why, answer=answer, weights=weights, rule="honest")
    for name, why, answer, weights in (
        ("base", "the base network", _unmasked, "base"),
        ("gelu", "GELU for ReLU, trained on its own", _unmasked, "gelu"),
        ("attention", "self-attention", _unmasked, "attention"),
        ("robust", "trained under attack", _unmasked, "robust"),
        ("smooth", "pooled, softplus, trained under a larger attack", _unmasked, "smooth"),
        ("float16", "float16 inside", _cast(torch.float16), "base"),
        ("bfloat16", "bfloat16 inside", _cast(torch.bfloat16), "base"),
        ("bfloat16_attention", "bfloat16 inside", _cast(torch.bfloat16), "attention"),
        ("double", "float64 inside", _double, "base"),
        ("log_softmax", "log-probabilities", after(lambda z: z.log_softmax(1)), "base"),
        ("times_1e_8", "1e-8·z", after(lambda z: 1e-8 * z), "base"),
        ("times_3", "3·z", after(lambda z: 3 * z), "base"),
        ("plus_1000", "z + 1000", after(lambda z: z + 1000), "base"),
        ("clip", "intensities clipped to [0, 1]", before(lambda x: x.clamp(0, 1)), "base"),
        (
            "window",
            "intensities clipped to [0.2, 0.9]",
            before(lambda x: x.clamp(0.2, 0.9)),
            "base",
        ),
        ("z_score", "each volume standardised", before(_z_score), "base"),
        (
            "ensemble",
            "the mean logits of two networks",
            lambda network, x: (network.logits(x) + trained("gelu")(x)) / 2,
            "base",
        ),
        (
            "defended_ensemble",
            "the mean logits of a robust network and a plain one",
            lambda network, x: (network.logits(x) + trained("robust")(x)) / 2,
            "base",
        ),
        (
            "flip_average",
            "the mean logits of a volume and its mirror image",
            lambda network, x: (network.logits(x) + network.logits(x.flip(4))) / 2,
            "base",
        ),
        ("average_pool", "a quarter of it means over 3³ voxels", before(_softened), "base"),
        (
            "max_pool",
            "maxima over 2³ voxels",
            before(lambda x: F.max_pool3d(F.pad(x, (0, 1) * 3), 2, stride=1) - 0.05),
            "base",
        ),
        ("gamma", "intensities to the power 1.2", before(lambda x: (x + 1e-3) ** 1.2), "base"),
        ("recomputed", "activations recomputed on the way back", _recomputed, "base"),
        ("times_1e_3", "1e-3·z", after(lambda z: 1e-3 * z), "base"),
        ("cosine", "ten times the cosine to each class", _cosine, "base"),
        ("rounded_weights", "weights of 8 bits", _rounded_weights, "base"),
        ("bounded_features", "features through a tanh", _bounded_features, "base"),
        ("fewer_classes", "a class that is never answered", _fewer_classes, "base"),
        ("upsampled", "resampled to 24³ and back", before(_upsampled), "base"),
        ("constant", "always the first class", _constant, "base"),
        ("almost_random", "decides by single voxels", _almost_random, "base"),
    )
)
