"""Networks that draw, openly or by a hash of what they see."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.masking.base import trained
from tests.masking.member import Member, after, before, content, draws

KIND = "stochastic"


def _dropout(network, volumes):
    found = network.maps(volumes).flatten(1)
    return network.head(F.dropout(found, 0.5))


def _monte_carlo(network, volumes):
    found = network.maps(volumes).flatten(1)
    return sum(network.head(F.dropout(found, 0.5)) for _ in range(8)) / 8


def _shifted(volumes):
    steps = torch.randint(-1, 2, (3,)).tolist()
    return volumes.roll(steps, (2, 3, 4))


def _cropped(volumes):
    corner = torch.randint(0, 2, (3,)).tolist()
    places = tuple(slice(start, start + 11) for start in corner)
    return F.interpolate(volumes[(..., *places)], size=volumes.shape[2:], mode="trilinear")


def _of_the_hash(volumes, size=0.06):
    noise = [torch.randn(v.shape, generator=draws(content(v))) for v in volumes]
    return volumes + size * torch.stack(noise)


def _of_the_batch(volumes):
    return volumes + 0.06 * torch.randn(volumes.shape, generator=draws(content(volumes)))


def _either_network(network, volumes):
    return network.logits(volumes) if torch.rand(1) < 0.5 else trained("robust")(volumes)


def _hashed_network(network, volumes):
    """Which of two networks answers follows from the last bits of the volume."""
    whose = torch.tensor([content(volume)[0] % 2 for volume in volumes.sum((1, 2, 3, 4))])
    return torch.where(
        whose[:, None] == 0, network.logits(volumes), network.logits(_of_the_hash(volumes))
    )


def _flips(network, volumes):
    """Test-time augmentation with random flips."""
    total = 0
    for _ in range(4):
        axes = [axis for axis in (2, 3, 4) if torch.rand(1) < 0.5]
        total = total + network.logits(volumes.flip(axes))
    return total / 4


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=hides, answer=answer)
    for name, hides, answer in (
        ("noise", "noise of 0.1 at each pass", before(lambda x: x + 0.1 * torch.randn_like(x))),
        ("faint_noise", "noise of 0.02", before(lambda x: x + 0.02 * torch.randn_like(x))),
        ("logit_noise", "noise on the logits", after(lambda z: z + torch.randn_like(z))),
        ("dropout", "dropout left on", _dropout),
        ("monte_carlo", "the mean of eight passes of dropout", _monte_carlo),
        ("shifted", "a random shift", before(_shifted)),
        ("cropped", "a random crop", before(_cropped)),
        ("augmented", "test-time augmentation by random flips", _flips),
        ("either_network", "two networks by chance", _either_network),
        ("hash_noise", "noise seeded by a hash of the volume", before(_of_the_hash)),
        (
            "faint_hash_noise",
            "a third of it",
            before(lambda x: _of_the_hash(x, 0.02)),
        ),
        ("hashed_network", "noise or none, by the last bits of the volume", _hashed_network),
        ("batch_noise", "noise seeded by a hash of the batch", before(_of_the_batch)),
    )
)
