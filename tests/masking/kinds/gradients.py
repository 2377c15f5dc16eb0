"""A backward pass that is not the forward pass's."""

from __future__ import annotations

import torch

from tests.masking.base import patches, trained
from tests.masking.member import Member, backward, blur, content, draws, fixed, straight

KIND = "wrong backward"


def _every_third(gradient):
    signs = torch.ones(gradient.shape[2])
    signs[::3] = -1
    return gradient * signs[:, None, None]


def _permuted(gradient):
    order = torch.randperm(gradient[0].numel(), generator=draws(0))
    return gradient.flatten(1)[:, order].reshape(gradient.shape)


def _by_region(gradient):
    """A sign step ignores the scale, the L2 norm of a step does not."""
    scales = torch.ones(gradient.shape[-1])
    scales[: len(scales) // 2] = 1e-4
    return gradient * scales


def _noisy_signs(gradient):
    return gradient * torch.where(fixed(gradient.shape[1:]) < 0.4, -1.0, 1.0)


def _rounded(gradient):
    unit = gradient.abs().flatten(1).amax(1).reshape(-1, 1, 1, 1, 1) / 2
    return (gradient / unit.clamp_min(1e-30)).round() * unit


def _random(gradient):
    return torch.randn(gradient.shape, generator=draws(content(gradient)))


def _clamped(gradient):
    return gradient.clamp(min=0)


def _strongest_zeroed(gradient):
    """Without the tenth of the voxels that matter most."""
    size = gradient.abs().flatten(1)
    limit = size.quantile(0.9, dim=1).reshape(-1, 1, 1, 1, 1)
    return torch.where(gradient.abs() > limit, 0.0, gradient)


def _weakest_reversed(gradient):
    """Most voxels lead the wrong way; the largest entries are right, which most of a norm is."""
    size = gradient.abs().flatten(1)
    limit = size.quantile(0.8, dim=1).reshape(-1, 1, 1, 1, 1)
    return torch.where(gradient.abs() > limit, gradient, -gradient)


def _of_some_volumes(network, volumes):
    """Right for the darker half of the volumes."""
    bright = (volumes.mean((1, 2, 3, 4)) > 0.46)[:, None]
    seen = network.logits(volumes)
    return torch.where(bright, straight(seen, -seen), seen)


def _through_numpy(network, volumes):
    """The value leaves torch, the gradient is that at the flipped volume."""
    array = volumes.detach().numpy()
    seen = network.logits(torch.from_numpy((array * 64).round() / 64))
    return straight(seen, network.logits(volumes.flip(3)))


def _edges(gradient):
    kept = torch.zeros_like(gradient)
    kept[..., :2] = gradient[..., :2]
    return kept


def _of_another(network, volumes):
    return straight(network.logits(volumes), -trained("robust")(volumes))


def _of_the_flipped(network, volumes):
    return straight(network.logits(volumes), network.logits(volumes.flip(2)))


def _of_the_blurred(network, volumes):
    return straight(network.logits(volumes), network.logits(blur(blur(volumes))))


def _hooked(network, volumes):
    found = network.maps(volumes)
    if found.requires_grad:
        found.register_hook(lambda gradient: gradient.flip(1))
    return network.head(found.flatten(1))


def _stale(network, volumes):
    """The gradient of the volumes that were seen before."""
    before = vars(network).get("before")
    vars(network)["before"] = volumes.detach().clone()
    seen = network.logits(volumes)
    if before is None or before.shape != volumes.shape:
        before = torch.zeros_like(volumes)
    return straight(seen, network.logits(before + volumes - volumes.detach()))


def _relu_passes_all(network, volumes):
    found = patches(volumes)
    for layer in network.features:
        after = layer(found)
        found = straight(after, -found) if isinstance(layer, torch.nn.ReLU) else after
    return network.head(found.flatten(1))


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=hides, answer=answer, rule=rule)
    for name, hides, answer, rule in (
        ("flipped_slices", "every third slice flipped", backward(_every_third), "masked"),
        ("reversed", "the gradient's sign", backward(torch.neg), "masked"),
        ("rolled", "moved by three voxels", backward(lambda g: g.roll(3, 4)), "masked"),
        ("permuted", "its voxels in another order", backward(_permuted), "masked"),
        ("scaled_region", "1e-4 of it in half the volume", backward(_by_region), "either"),
        (
            "half_zeroed",
            "zero in a random half of the voxels",
            backward(lambda g: g * (fixed(g.shape[1:]) < 0.5)),
            "masked",
        ),
        (
            "strongest_zeroed",
            "the tenth of the voxels that matter most",
            backward(_strongest_zeroed),
            "masked",
        ),
        (
            "weakest_reversed",
            "the sign of four fifths of the voxels, the weakest",
            backward(_weakest_reversed),
            "masked",
        ),
        ("of_some_volumes", "the gradient's sign for bright volumes", _of_some_volumes, "masked"),
        ("numpy_flipped", "rounds in NumPy; gradient of the flipped", _through_numpy, "masked"),
        ("edge_only", "zero but for two slices", backward(_edges), "masked"),
        ("noisy_signs", "the sign of four voxels of ten", backward(_noisy_signs), "masked"),
        ("rounded", "all but the largest entries", backward(_rounded), "masked"),
        ("clamped", "negative entries", backward(_clamped), "masked"),
        ("random_gradient", "noise instead, seeded by the gradient", backward(_random), "masked"),
        ("of_another", "the gradient of another network, reversed", _of_another, "masked"),
        ("of_the_flipped", "the gradient at the flipped volume", _of_the_flipped, "masked"),
        ("of_the_blurred", "the gradient at a blurred volume", _of_the_blurred, "masked"),
        ("hooked", "a hook that swaps the gradients of channels", _hooked, "masked"),
        ("stale", "the gradient at the volumes of the last pass", _stale, "masked"),
        ("reversed_relu", "each ReLU passes minus its gradient", _relu_passes_all, "masked"),
    )
)
