"""The random search: on one slice it is Square itself; its steps, its budget, its strength."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor

from benchharness.attacks import NoiseSign
from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.norms import L2_RMS, LINF
from benchharness.attacks.square import (
    Square3D,
    Square3DL2,
    State,
    bump,
    column_of,
    cube_of,
    fraction,
    slice_axis,
)
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import (
    BlackBox,
    accuracy,
    names,
    task,
    tiny,
    trained,
    volumes_like,
)
from tests.attacks.folding import Folded, folded

EPS = 16 / 255


def state_of(shape: tuple[int, ...], severity: float = EPS) -> State:
    clean = volumes_like(4, shape) * 0.2 + 0.4
    draws = Draws(names(4), "test")
    point = Square3DL2().start(clean, draws, severity)
    return State(clean=clean, point=point, draws=draws, severity=severity)


def test_takes_twenty_points_off_a_trained_network_and_beats_noise() -> None:
    """The network's backward pass raises: nothing but the logits is of use."""
    classifier = Classifier(BlackBox(trained(4)), num_classes=4)
    volumes, labels = task(60, 4, seed=9)
    clean = accuracy(classifier, volumes, labels)

    def robust(attack: Square3D | NoiseSign) -> float:
        outcome = attack(classifier, volumes, labels, severity=EPS, ids=names(60), seed=0)
        return float((outcome.logits.argmax(1) == labels.numpy()).mean())

    noisy, searched = robust(NoiseSign()), robust(Square3D(queries=500))
    assert searched <= clean - 0.2
    assert searched < noisy


def test_l2_beats_noise_of_the_same_norm() -> None:
    classifier, (volumes, labels) = trained(4), task(20, 4, seed=9)
    outcome = Square3DL2(queries=300)(
        classifier, volumes, labels, severity=EPS, ids=names(20), seed=0
    )
    searched = (outcome.logits.argmax(1) == labels.numpy()).mean()
    noise = L2_RMS.spread(Draws(names(20), "noise").normal(volumes)) * EPS
    assert searched <= accuracy(classifier, (volumes + noise).clamp(0, 1), labels) - 0.2


class SameDraws(torchattacks.Square):
    """The oracle for one volume of one slice, with the draws that ours makes for it."""

    draws: Draws

    def random_choice(self, shape: list[int]) -> Tensor:
        return self.draws.signs(torch.empty(1, *shape[-3:]))

    def random_int(self, low: int = 0, high: int = 1, shape: Any = None) -> Tensor:
        """The oracle leaves out the last place, ours does not."""
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls % 2:
            assert self.draws.integers((1, 1), 1) == 0, "the place along the only slice"
        return self.draws.integers((1, 1), high + 1)[0]


@pytest.mark.parametrize("rescaled", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_on_one_slice_it_is_the_original(channels: int, rescaled: bool) -> None:
    """Start, schedule, windows, signs, clipping and acceptance, query by query."""
    shape, eps, queries = (channels, 1, 11, 11), 4 / 255, 120
    classifier, volumes = tiny(4, channels).eval(), volumes_like(3, shape)
    with torch.no_grad():
        labels = classifier(volumes).argmax(1)
    for volume, label, name in zip(volumes.split(1), labels.split(1), names(3), strict=True):
        oracle = SameDraws(
            Folded(classifier, shape).eval(), eps=eps, n_queries=queries, resc_schedule=rescaled
        )
        oracle.draws = Draws([name], "square3d", eps, 0)
        oracle.init_hyperparam(folded(volume))
        spent, expected = oracle.attack_single_run(folded(volume), label)
        ours = Square3D(queries=queries, rescaled=rescaled)
        outcome = ours(classifier, volume, label, severity=eps, ids=[name], seed=0)
        torch.testing.assert_close(folded(outcome.volumes), expected, atol=1e-6, rtol=0)
        assert outcome.findings["queries"] == spent.item()
        assert not torch.equal(outcome.volumes, volume)


@pytest.mark.parametrize("number", [0, 1, 14, 15, 2000, 2001])
@pytest.mark.parametrize("shape", [(1, 9, 9, 9), (2, 7, 9, 12)])
def test_steps_are_columns_and_cubes_with_a_sign_for_each_slice(
    shape: tuple[int, ...], number: int
) -> None:
    state = state_of(shape)
    state.point.copy_(state.clean)
    attack = Square3D(queries=10_000)
    proposal = attack.propose(state, number)
    axis, grid = number % 3, shape[1:]
    voxels, share = grid[0] * grid[1] * grid[2], attack.share(number)
    if number % 2:
        side = round((share * voxels) ** (1 / 3))
        wanted = [min(side, size) for size in grid]
    else:
        side = round((share * voxels / grid[axis]) ** 0.5)
        wanted = [size if own == axis else min(side, size) for own, size in enumerate(grid)]
    signs: list[float] = []
    for before, after, clean in zip(state.point, proposal, state.clean, strict=True):
        places = (before != after).any(0).nonzero()
        extent = (places.amax(0) - places.amin(0) + 1).tolist()
        assert extent == wanted
        low, high = places.amin(0), places.amax(0) + 1
        box = (after - clean)[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        assert torch.allclose(box.abs(), torch.tensor(EPS), atol=1e-6)
        slices = box.sign().movedim(1 + axis, 1).flatten(2)
        assert torch.equal(slices, slices[:, :, :1].expand_as(slices)), "one sign for a slice"
        signs.extend(slices[0, :, 0].tolist())
    assert len(set(signs)) == 2
    if wanted[axis] > 3:
        changes = [sign != after for sign, after in pairwise(signs)]
        assert 0 < sum(changes) < len(changes), "each slice has its own"


def test_the_slices_lie_along_each_axis_in_turn() -> None:
    assert [slice_axis(number, (9, 9, 9)) for number in range(4)] == [0, 1, 2, 0]
    assert {slice_axis(number, (1, 9, 9)) for number in range(4)} == {0}
    assert {slice_axis(number, (9, 9, 1)) for number in range(4)} == {2}
    assert {slice_axis(number, (1, 1, 9)) for number in range(4)} == {0}


def test_volumes_have_their_own_squares() -> None:
    state = state_of((1, 9, 9, 9))
    state.point.copy_(state.clean)
    moved = Square3D(queries=10_000).propose(state, 6000) != state.clean
    assert len({tuple(place.nonzero()[0].tolist()) for place in moved}) > 1


def test_start_is_stripes_at_full_budget() -> None:
    clean = volumes_like(3, (2, 5, 6, 7)) * 0.5 + 0.25
    delta = Square3D().start(clean, Draws(names(3), "test"), EPS) - clean
    assert torch.allclose(delta.abs(), torch.tensor(EPS), atol=1e-6)
    assert torch.allclose(delta, delta[:, :, :, :1].expand_as(delta), atol=1e-6)
    assert len(delta[0, 0, 0, 0].sign().unique()) == 2
    assert not torch.equal(delta[0, 0, 0].sign(), delta[0, 0, 1].sign())


@pytest.mark.parametrize("shape", [(1, 9, 9, 9), (2, 7, 9, 12), (1, 1, 9, 9), (1, 2, 3, 4)])
@pytest.mark.parametrize("number", [0, 300, 9000])
def test_l2_proposals_spend_the_budget(shape: tuple[int, ...], number: int) -> None:
    # So small that even the top of a bump stays within the range.
    state, small = state_of(shape, 0.005), torch.tensor(0.005)
    assert torch.allclose(L2_RMS.size(state.point - state.clean).float(), small, rtol=1e-4)
    proposal = Square3DL2(queries=10_000).propose(state, number)
    assert torch.isfinite(proposal).all()
    assert torch.allclose(L2_RMS.size(proposal - state.clean).float(), small, rtol=1e-4)
    assert not torch.equal(proposal, state.point)


def test_bumps_have_norm_one_and_halves_of_opposite_sign() -> None:
    for window in [(3, 3, 3), (5, 7, 3), (1, 4, 4), (1, 1, 1)]:
        assert bump(window).square().sum() == pytest.approx(1)
        assert (bump(window) > 0).all()
        middle = tuple(size // 2 for size in window)
        assert bump(window)[middle] == bump(window).max()
    split = bump((4, 5, 5), 0)
    assert (split[:2] > 0).all()
    assert (split[2:] < 0).all()


def test_schedule_is_that_of_square() -> None:
    shares = [fraction(number, 0.8) for number in (0, 10, 11, 51, 201, 1001, 8001, 9999)]
    assert shares == [0.8, 0.8, 0.4, 0.2, 0.1, 0.025, 0.8 / 512, 0.8 / 512]
    assert fraction(51, 0.8, 5_000) == fraction(102, 0.8)
    assert Square3D(queries=100).share(90) == 0.8 / 512
    assert Square3D(queries=100, rescaled=False).share(90) == 0.8 / 4


def test_windows() -> None:
    assert column_of(1 / 4, (10, 28, 28), 0) == (10, 14, 14)
    assert column_of(1 / 4, (10, 28, 28), 2) == (8, 8, 28)
    assert column_of(0.8, (4, 28, 28), 1) == (4, 28, 9)
    assert column_of(1e-6, (28, 28, 28), 1) == (1, 28, 1)
    assert cube_of(1 / 8, (28, 28, 28)) == (14, 14, 14)
    assert cube_of(1e-6, (28, 28, 28)) == (1, 1, 1)
    assert cube_of(1e-6, (28, 28, 28), 3) == (3, 3, 3)
    assert cube_of(0.5, (4, 28, 28)) == (4, 12, 12)
    assert cube_of(1 / 4, (1, 28, 28)) == (1, 14, 14)


@pytest.mark.parametrize("kind", [Square3D, Square3DL2])
def test_more_queries_are_never_spent_than_allowed(kind: type[Square3D | Square3DL2]) -> None:
    seen: list[int] = []
    classifier = trained(4)

    def count(module: object, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(len(output))

    volumes, labels = task(5, 4)
    with classifier.network.register_forward_hook(count):
        outcome = kind(queries=20)(
            classifier, volumes, labels, severity=1 / 255, ids=names(5), seed=0
        )
    assert outcome.findings["queries"].max() == 1 + 20
    # Two clean passes, one to see what is correct, the start, the queries, and one to judge.
    assert len(seen) == 2 + 1 + 1 + 20 + 1


def test_search_never_returns_worse_than_clean() -> None:
    classifier = tiny(4)
    volumes = volumes_like(8)
    with torch.no_grad():
        labels = classifier.eval()(volumes).argmax(1)
    attack = Square3D(queries=1)
    outcome = attack(classifier, volumes, labels, severity=0.01, ids=names(8), seed=0)
    with torch.no_grad():
        clean = classifier(volumes)
    own = torch.arange(8), labels
    others = clean.clone().index_put_(own, torch.tensor(-1e9)).amax(1) - clean[own]
    reached = torch.from_numpy(outcome.logits)
    after = reached.clone().index_put_(own, torch.tensor(-1e9)).amax(1) - reached[own]
    assert (after >= others - 1e-5).all()
    assert LINF.size(outcome.volumes - volumes).max() <= 0.01 + 1e-6
