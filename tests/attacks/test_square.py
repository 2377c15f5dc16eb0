"""The random search: its steps are cubes, it respects its budget, and it beats noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchharness.attacks import NoiseSign
from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.norms import L2_RMS, LINF
from benchharness.attacks.square import Square3D, Square3DL2, State, bump, fraction, window_of
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


@pytest.mark.parametrize("share", [0.8, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("shape", [(1, 9, 9, 9), (2, 7, 9, 12)])
def test_steps_are_cubes(shape: tuple[int, ...], share: float) -> None:
    state = state_of(shape)
    state.point.copy_(state.clean)
    proposal = Square3D().propose(state, share)
    side = min(max(round((share * shape[1] * shape[2] * shape[3]) ** (1 / 3)), 1), 99)
    for before, after, clean in zip(state.point, proposal, state.clean, strict=True):
        places = (before != after).any(0).nonzero()
        extent = (places.amax(0) - places.amin(0) + 1).tolist()
        assert extent == [min(side, size) for size in shape[1:]]
        low, high = places.amin(0), places.amax(0) + 1
        box = (after - clean)[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        for channel in box:
            assert torch.allclose(channel.abs(), torch.tensor(EPS), atol=1e-6)
            assert len(channel.sign().unique()) == 1


def test_volumes_have_their_own_cubes() -> None:
    state = state_of((1, 9, 9, 9))
    state.point.copy_(state.clean)
    moved = Square3D().propose(state, 0.01) != state.clean
    assert len({tuple(place.nonzero()[0].tolist()) for place in moved}) > 1


def test_start_is_stripes_at_full_budget() -> None:
    clean = volumes_like(3, (2, 5, 6, 7)) * 0.5 + 0.25
    delta = Square3D().start(clean, Draws(names(3), "test"), EPS) - clean
    assert torch.allclose(delta.abs(), torch.tensor(EPS), atol=1e-6)
    assert torch.allclose(delta, delta[:, :, :1, :1].expand_as(delta), atol=1e-6)
    assert len(delta[0, 0, 0, 0].sign().unique()) == 2


@pytest.mark.parametrize("shape", [(1, 9, 9, 9), (2, 7, 9, 12), (1, 1, 9, 9), (1, 2, 3, 4)])
@pytest.mark.parametrize("share", [0.8, 0.1, 0.001])
def test_l2_proposals_spend_the_budget(shape: tuple[int, ...], share: float) -> None:
    # So small that even the top of a bump stays within the range.
    state, small = state_of(shape, 0.005), torch.tensor(0.005)
    assert torch.allclose(L2_RMS.size(state.point - state.clean).float(), small, rtol=1e-4)
    proposal = Square3DL2().propose(state, share)
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
    shares = [fraction(query, 10_000, 0.8) for query in (0, 10, 11, 51, 201, 1001, 8001, 9999)]
    assert shares == [0.8, 0.8, 0.4, 0.2, 0.1, 0.025, 0.8 / 512, 0.8 / 512]
    assert fraction(51, 5_000, 0.8) == fraction(102, 10_000, 0.8)


def test_windows() -> None:
    assert window_of(1 / 8, (28, 28, 28), 1) == (14, 14, 14)
    assert window_of(1e-6, (28, 28, 28), 1) == (1, 1, 1)
    assert window_of(0.5, (4, 28, 28), 1) == (4, 12, 12)
    assert window_of(1 / 4, (1, 28, 28), 1) == (1, 14, 14)


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
    assert outcome.findings["queries"].max() == 20
    # Two clean passes, one to see what is correct, the queries, and one to judge.
    assert len(seen) == 2 + 1 + 20 + 1


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
