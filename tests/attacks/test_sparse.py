"""The sparse attacks against brute force, and against random search with as many passes."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from benchharness import datasets
from benchharness.attacks import Cube, Slab, VoxelFlip
from benchharness.attacks.core.objectives import margin
from benchharness.attacks.core.sparse import ranked, rungs
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import names, on_phantoms, task, tiny, trained, volumes_like
from tests.attacks.sparse_rs import sparse_rs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from benchharness.attacks import Attack

    Problem = tuple[Classifier, Tensor, Tensor]


@cache
def near(num_classes: int, count: int = 12) -> Problem:
    """A trained network with volumes that it gets right, most of them barely."""
    classifier = trained(num_classes)
    volumes, labels = task(4 * count, num_classes, seed=9)
    mixed = torch.linspace(0, 0.6, len(volumes)).view(-1, 1, 1, 1, 1)
    volumes = volumes + mixed * (volumes.roll(-1, 0) - volumes)
    with torch.no_grad():
        margins = margin(classifier(volumes), labels)
    right = margins.argsort(descending=True)[(margins >= 0).sum() :]
    right = right[(torch.linspace(0, 1, count) ** 2 * (len(right) - 1)).long()]
    return classifier, volumes[right], labels[right]


@torch.no_grad()
def predicted(classifier: nn.Module, volumes: Tensor) -> Tensor:
    return torch.cat([classifier(some).argmax(1) for some in volumes.split(512)])


def left(attack: Attack, problem: Problem, severity: int) -> Tensor:
    """Which volumes an attack leaves right, bool (B,)."""
    classifier, volumes, labels = problem
    outcome = attack(
        classifier, volumes, labels, severity=severity, ids=names(len(volumes)), seed=0
    )
    return torch.from_numpy(outcome.logits).argmax(1) == labels


def withstands(problem: Problem, points: Callable[[Tensor], Iterable[Tensor]]) -> Tensor:
    """Which volumes no point breaks, bool (B,); `points` gives those of a volume in parts."""
    classifier, volumes, labels = problem
    return torch.tensor(
        [
            all((predicted(classifier, part) == label).all() for part in points(volume))
            for volume, label in zip(volumes, labels, strict=True)
        ]
    )


def every_voxel(volume: Tensor) -> Iterator[Tensor]:
    """Each voxel at 0, and each at 1."""
    for some in torch.arange(volume.numel()).split(512):
        for end in (0.0, 1.0):
            points = volume.flatten().repeat(len(some), 1)
            points[torch.arange(len(some)), some] = end
            yield points.view(-1, *volume.shape)


def every_box(windows: tuple[tuple[int, int, int], ...]) -> Callable[[Tensor], Iterable[Tensor]]:
    """Each place of each window, filled with 0, and with 1."""

    def points(volume: Tensor) -> Iterable[Tensor]:
        made = []
        for window in windows:
            fits = [range(n - s + 1) for n, s in zip(volume.shape[1:], window, strict=True)]
            for corner, value in product(product(*fits), (0.0, 1.0)):
                point = volume.clone()
                where = tuple(slice(c, c + s) for c, s in zip(corner, window, strict=True))
                point[(slice(None), *where)] = value
                made.append(point)
        return torch.stack(made).split(512)

    return points


class Waves(nn.Module):
    """Sums a wave of every voxel: what an end of [0, 1] gains is known, and the gradient misleads.

    The second class gains the sum; it never wins, so that no search stops early.
    """

    def __init__(self) -> None:
        super().__init__()
        draws = torch.randn(2, 5, 5, 5, generator=torch.Generator().manual_seed(4))
        self.weight, self.phase = nn.Parameter(draws[0]), nn.Parameter(3 * draws[1])

    def waves(self, volumes: Tensor) -> Tensor:
        return self.weight * (9 * volumes + self.phase).sin()

    def forward(self, volumes: Tensor) -> Tensor:
        gained = self.waves(volumes).flatten(1).sum(1)
        return torch.stack([torch.full_like(gained, 1e3), gained], dim=1)


def gained(attack: Attack, severity: int) -> tuple[Tensor, Waves, Tensor]:
    """What an attack gains on eight volumes of waves, the network, and the volumes."""
    network, volumes = Waves(), volumes_like(8, (1, 5, 5, 5))
    labels = torch.zeros(8, dtype=torch.int64)
    classifier = Classifier(network, num_classes=2)
    outcome = attack(classifier, volumes, labels, severity=severity, ids=names(8), seed=0)
    with torch.no_grad():
        return (network(outcome.volumes) - network(volumes))[:, 1], network, volumes


@pytest.mark.parametrize(("severity", "share"), [(1, 1.0), (2, 0.99), (4, 0.97), (16, 0.95)])
def test_flips_reach_the_best_voxels_where_the_gradient_misleads(
    severity: int, share: float
) -> None:
    reached, network, volumes = gained(VoxelFlip(), severity)
    ends = torch.stack([network.waves(torch.full_like(volumes, end)) for end in (0.0, 1.0)])
    gains = (ends - network.waves(volumes)).amax(0).flatten(1)
    best = gains.topk(severity, dim=1).values.sum(1).detach()
    assert (reached >= share * best - 1e-3).all(), (reached / best).tolist()


@pytest.mark.parametrize("attack", [Cube(), Slab()], ids=lambda attack: attack.name)
def test_regions_reach_the_best_place_where_the_gradient_misleads(attack: Cube | Slab) -> None:
    reached, network, volumes = gained(attack, 2)
    boxes = every_box(attack.windows(2, (5, 5, 5)))
    for volume, gain in zip(volumes, reached, strict=True):
        with torch.no_grad():
            every = torch.cat([network(part) for part in boxes(volume)])[:, 1]
            best = every.max() - network(volume[None])[0, 1]
        assert gain >= best - 1e-3


@pytest.mark.parametrize("classes", [2, 4])
def test_one_voxel_is_as_strong_as_all_of_them(classes: int) -> None:
    problem = near(classes)
    best = withstands(problem, every_voxel)
    assert 0 < best.sum() < len(best)
    assert torch.equal(left(VoxelFlip(), problem, 1), best)
    assert torch.equal(left(Cube(), problem, 1), best)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("attack", [Cube(), Slab()], ids=lambda attack: attack.name)
def test_a_region_is_as_strong_as_all_places_filled_with_0_or_1(
    attack: Cube | Slab, classes: int
) -> None:
    problem = near(classes)
    best = withstands(problem, every_box(attack.windows(2, (8, 8, 8))))
    assert not (left(attack, problem, 2) & ~best).any()


def passes(attack: VoxelFlip, severity: int) -> int:
    """Most forward passes that a flip of `severity` voxels takes."""
    larger = attack.larger.forward * (len(rungs(severity)) - 1)
    return 1 + attack.rounds * (attack.smallest.forward + larger)


@pytest.mark.parametrize("count", [4, 16])
@pytest.mark.parametrize("classes", [2, 4])
def test_flips_are_as_strong_as_sparse_rs_with_as_many_passes(classes: int, count: int) -> None:
    classifier, volumes, labels = problem = near(classes)
    ours = left(VoxelFlip(), problem, count)
    theirs = sparse_rs(classifier, volumes, labels, count, passes(VoxelFlip(), count))
    assert ours.sum() <= theirs.sum()
    if count == 4:
        assert theirs.any(), "the comparison is empty"


@pytest.mark.parametrize("attack", [VoxelFlip, Cube, Slab])
def test_more_never_breaks_fewer(attack: type[VoxelFlip | Cube | Slab]) -> None:
    problem = near(4)
    before = torch.ones(len(problem[2]), dtype=torch.bool)
    for severity in (1, 2, 7):
        now = left(attack(rounds=2), problem, severity)
        assert not (now & ~before).any(), f"{severity} leaves what a smaller severity breaks"
        before = now
    before = torch.ones(len(problem[2]), dtype=torch.bool)
    for rounds in (1, 2):
        now = left(attack(rounds=rounds), problem, 2)
        assert not (now & ~before).any(), f"{rounds} rounds leave what fewer break"
        before = now


@pytest.mark.parametrize("attack", [VoxelFlip(rounds=2), Cube(rounds=2), Slab(rounds=2)])
@pytest.mark.parametrize("severity", [1, 2, 65])
def test_passes_stay_within_the_cost(
    attack: VoxelFlip | Cube | Slab, severity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that nothing breaks gets them all; the look at the result is not the attack's."""
    classifier = tiny(2)
    classifier.network.head.bias.data[0] += 1e3
    seen = {"forward": 0, "backward": 0}

    class Counted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, volumes: Tensor) -> Tensor:
            seen["forward"] += len(volumes)
            seen["backward"] += len(volumes) * volumes.requires_grad
            return self.inner(volumes)

    classifier.network = Counted(classifier.network)
    outcome = attack(
        classifier,
        volumes_like(2),
        torch.zeros(2, dtype=torch.int64),
        severity=severity,
        ids=names(2),
        seed=0,
        watched=(),
    )
    cost = attack.cost(2)
    extra = 2 * 2 + 2  # the clean volumes twice, and the result
    assert seen["forward"] - extra <= 2 * cost.forward
    assert seen["backward"] <= 2 * cost.backward
    assert seen["forward"] - extra == outcome.findings["queries"].sum() + seen["backward"]
    if severity == 65 and not isinstance(attack, Slab):
        assert seen["backward"] == 2 * cost.backward


def test_a_network_without_a_gradient_is_searched_by_its_scores() -> None:
    class Rounded(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, volumes: Tensor) -> Tensor:
            return self.inner((volumes * 255).round() / 255)

    classifier, volumes, labels = near(4)
    hidden = Classifier(Rounded(classifier.network), num_classes=4).eval()
    attack = VoxelFlip()
    outcome = attack(hidden, volumes, labels, severity=16, ids=names(len(labels)), seed=0)
    assert outcome.findings["zero_gradient"].all()
    broken = (torch.from_numpy(outcome.logits).argmax(1) != labels).float().mean()
    assert broken > 0.5
    failed = [
        check.name
        for check in attack.certificate([outcome], severity=16, num_classes=4)
        if check.verdict == "failed"
    ]
    assert "gradients not zero" in failed


def test_equal_scores_come_in_an_order_that_spreads_over_the_volume() -> None:
    first = ranked(torch.zeros(2, 1000), 10)
    assert torch.equal(first[0], first[1])
    gaps = first[0].sort().values.diff()
    assert gaps.min() > 20
    assert ranked(torch.tensor([[1.0, 3.0, 2.0]]), 2).tolist() == [[1, 2]]


def test_a_voxel_counts_once_whatever_its_channels() -> None:
    classifier = tiny(3, 2)
    volumes = volumes_like(4, (2, 5, 6, 7))
    labels = predicted(classifier.eval(), volumes)
    outcome = VoxelFlip(rounds=2)(classifier, volumes, labels, severity=3, ids=names(4), seed=0)
    changed = (outcome.volumes != volumes).any(1).flatten(1).sum(1)
    assert (changed <= 3).all()
    assert np.array_equal(outcome.norms, changed.numpy())


def phantoms(seed: int) -> Problem:
    """A network trained on phantoms of 28³, and twelve that it gets right."""
    classifier = on_phantoms(seed)
    test = datasets.load("phantom3d", None).test
    volumes, labels = as_float(test.volumes, "cpu"), torch.from_numpy(test.labels)
    right = (predicted(classifier, volumes) == labels).nonzero()[:12, 0]
    return classifier, volumes[right], labels[right]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_phantoms(seed: int) -> None:
    """One voxel of 28³ is as strong as all of them, and more as strong as random search."""
    classifier, volumes, labels = problem = phantoms(seed)
    with torch.no_grad():
        margins = margin(classifier(volumes), labels)
    # All 43,904 points of every volume would take half an hour.
    nearest = margins.masked_fill(~left(VoxelFlip(), problem, 1), -torch.inf).argsort()[-3:]
    assert withstands((classifier, volumes[nearest], labels[nearest]), every_voxel).all()
    for count in (4, 16, 64):
        ours = left(VoxelFlip(), problem, count)
        theirs = sparse_rs(classifier, volumes, labels, count, passes(VoxelFlip(), count))
        assert ours.sum() <= theirs.sum()
