"""Terms of high frequency: the answer hardly changes, its slope says nothing."""

from __future__ import annotations

import torch

from tests.masking.member import Member, after, before

KIND = "wave"


def _hidden(network, volumes):
    found = network.maps(volumes)
    found = found + 1e-3 * torch.sin(1e4 * found)
    return network.head(found.flatten(1))


def _sines(volumes):
    for frequency in (3e3, 1e4, 3e4, 1e5):
        volumes = volumes + 1 / frequency * torch.sin(frequency * volumes)
    return volumes


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=hides, answer=answer)
    for name, hides, answer in (
        (
            "sine_1e5",
            "x + 2e-5·sin(1e5·x)",
            before(lambda x: x + 2e-5 * torch.sin(1e5 * x)),
        ),
        (
            "sine_1e4",
            "x + 2e-4·sin(1e4·x)",
            before(lambda x: x + 2e-4 * torch.sin(1e4 * x)),
        ),
        (
            "sine_1e6",
            "x + 1e-4·sin(1e6·x)",
            before(lambda x: x + 1e-4 * torch.sin(1e6 * x)),
        ),
        (
            "sine_2e3",
            "x + 2e-3·sin(2e3·x): not much faster than a small ε",
            before(lambda x: x + 2e-3 * torch.sin(2e3 * x)),
        ),
        (
            "sine_3e2",
            "x + 0.01·sin(300·x): as long as a large ε",
            before(lambda x: x + 1e-2 * torch.sin(3e2 * x)),
        ),
        ("sines", "four sines of slope 1, one in another", before(_sines)),
        (
            "sawtooth",
            "x − 2·frac(1000·x)/1000: the slope is −1 almost everywhere",
            before(lambda x: x - 2 * torch.frac(1e3 * x) / 1e3),
        ),
        (
            "product",
            "x·(1 + 1e-4·sin(5e4·x))",
            before(lambda x: x * (1 + 1e-4 * torch.sin(5e4 * x))),
        ),
        (
            "neighbour_sine",
            "x plus a fast sine of the next voxel",
            before(lambda x: x + 2e-5 * torch.sin(1e5 * x.roll(1, -1))),
        ),
        (
            "mean_sine",
            "x plus a fast sine of the volume's mean",
            before(lambda x: x + 1e-4 * torch.sin(1e8 * x.mean((1, 2, 3, 4), keepdim=True))),
        ),
        ("hidden_sine", "a fast sine on the features", _hidden),
        (
            "logit_sine",
            "z + 0.01·sin(1e3·z)",
            after(lambda z: z + 0.01 * torch.sin(1e3 * z)),
        ),
    )
)
