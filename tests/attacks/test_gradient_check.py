"""The gradient is compared with finite differences in every cell of an attack that follows one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchharness.attacks import (
    FGSM,
    PGD,
    PGDL2,
    APGDMargin,
    AutoAttack3D,
    DeepFool,
    FullRange,
    NoiseSign,
    Square3D,
    Transfer,
    VoxelFlip,
)
from benchharness.attacks.core import certificates, gradient_check
from benchharness.attacks.core.certificates import FOLLOWS, GRADIENT, WITHIN
from benchharness.networks.classifier import Classifier
from tests.attacks import maskings
from tests.attacks.attack_networks import linear, names, task, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.attacks import Attack, Outcome
    from benchharness.store.records import Check

EPS = 4 / 255
CHECKS = (GRADIENT, WITHIN, FOLLOWS)


def attacked(
    attack: Attack, network: nn.Module, *, count: int = 16, size: int = 16, eps: float = EPS
) -> list[Outcome]:
    volumes, labels = task(count, 4, seed=5)
    classifier, ids = Classifier(network, num_classes=4), names(count)
    watched = gradient_check.chosen(ids)
    return [
        attack(
            classifier,
            volumes[start : start + size],
            labels[start : start + size],
            severity=eps if attack.norm in ("linf", "l2") else 3,
            ids=ids[start : start + size],
            seed=0,
            watched=watched,
        )
        for start in range(0, count, size)
    ]


def certified(attack: Attack, network: nn.Module, **options: int) -> dict[str, Check]:
    outcomes = attacked(attack, network, **options)
    found = attack.certificate(outcomes, severity=EPS, num_classes=4)
    return {check.name: check for check in found if check.name in CHECKS}


@pytest.mark.parametrize("name", maskings.HONEST)
@pytest.mark.parametrize("attack", [PGD(steps=2), PGDL2(steps=2)], ids=lambda attack: attack.name)
def test_an_honest_network_passes_with_a_margin(name: str, attack: Attack) -> None:
    for check in certified(attack, maskings.HONEST[name]()).values():
        assert check.verdict != "failed"
        if check.value is not None:
            assert check.bound is not None
            assert check.value < 0.6 * check.bound


@pytest.mark.parametrize("name", maskings.WRONG)
def test_a_wrong_gradient_fails_with_a_margin(name: str) -> None:
    check = certified(PGD(steps=2), maskings.WRONG[name]())[GRADIENT]
    assert check.verdict == "failed"
    assert check.value is not None
    assert check.value > 1.25 * certificates.ERROR
    assert "the backward pass is not that of the forward pass" in check.reason


@pytest.mark.parametrize(
    ("network", "failing"),
    [
        (lambda: maskings.Around(after=torch.Tensor.bfloat16), ()),
        (lambda: maskings.Around(after=lambda z: (5 * z).sigmoid()), (WITHIN,)),
        (lambda: maskings.Around(lambda x: x + 2e-3 * torch.sin(1e3 * x)), (WITHIN,)),
        (lambda: maskings.Around(after=lambda z: 1e4 * z), (FOLLOWS,)),
    ],
    ids=["rounded", "sigmoid", "long waves", "huge"],
)
def test_what_a_step_brings_is_checked_too(
    network: Callable[[], nn.Module], failing: tuple[str, ...]
) -> None:
    found = certified(PGD(steps=3), network())
    failed = {check.name for check in found.values() if check.verdict == "failed"}
    assert failed >= set(failing)
    assert failed <= {*failing, GRADIENT}
    assert failing or not failed


def test_the_margin_is_followed_where_the_cross_entropy_vanishes() -> None:
    huge = maskings.Around(after=lambda z: 1e4 * z)
    check = certified(PGD(steps=2), huge)[FOLLOWS]
    assert "the attack's gradient leads to less than 25% of what the margin's does" in check.reason
    assert certified(APGDMargin(steps=2), huge)[FOLLOWS].verdict == "not applicable"


def test_a_constant_network_is_not_accused() -> None:
    class Constant(nn.Module):
        """Robust: nothing within the budget moves any logit."""

        def forward(self, volumes: Tensor) -> Tensor:
            bright = (volumes - 2).relu().mean((2, 3, 4))
            return bright + torch.tensor([0.0, 1.0, 2.0, 3.0])

    found = certified(PGD(steps=2), Constant())
    assert {check.verdict for check in found.values()} == {"not applicable"}
    assert "resolves" in found[GRADIENT].reason


@pytest.mark.parametrize("attack", [Square3D(queries=2), NoiseSign(), Transfer(steps=1)], ids=str)
def test_an_attack_that_follows_no_gradient_of_the_network_is_not_judged_by_it(
    attack: Attack,
) -> None:
    found = certified(attack, maskings.WRONG["flipped slices"]())
    assert {check.verdict for check in found.values()} == {"not applicable"}
    assert all(check.reason for check in found.values())
    assert attack.checks(100).backward == 0


@pytest.mark.parametrize(
    "attack",
    [
        AutoAttack3D(steps=2, queries=2, targets=1),
        DeepFool(steps=2),
        FullRange(steps=2),
        PGDL2(steps=2),
        VoxelFlip(),
    ],
    ids=lambda attack: attack.name,
)
def test_every_kind_of_attack_is_judged(attack: Attack) -> None:
    assert certified(attack, maskings.WRONG["flipped slices"]())[GRADIENT].verdict == "failed"
    assert certified(attack, maskings.HONEST["plain"]())[GRADIENT].verdict == "passed"


def test_a_stochastic_network_gets_the_same_draws_at_every_pass() -> None:
    noisy = maskings.Around(lambda x: x + 0.1 * torch.randn_like(x))
    found = certified(PGD(steps=2, samples=2), noisy)
    assert found[GRADIENT].verdict == "passed"
    flipped = maskings.Around(lambda x: maskings.backward(maskings._flip)(x + torch.rand_like(x)))
    assert certified(PGD(steps=2, samples=2), flipped)[GRADIENT].verdict == "failed"


def test_a_linear_network_is_predicted_exactly() -> None:
    outcomes = attacked(FGSM(), linear(4, 512).network)
    (slopes,) = (outcome.slopes for outcome in outcomes)
    assert slopes is not None
    assert slopes.errors.shape == (2, gradient_check.WATCHED)
    assert np.nanmax(slopes.errors) < 1e-3
    assert np.nanmax(slopes.shortfall) < 1e-3


def test_a_gradient_of_half_the_size_is_off_by_half() -> None:
    halved = maskings.Around(maskings.backward(lambda gradient: gradient / 2))
    (outcome,) = attacked(FGSM(), halved)
    assert outcome.slopes is not None
    assert outcome.slopes.error == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(outcome.slopes.shortfall, 0.5, atol=0.05)


def test_batches_and_order_choose_the_same_volumes() -> None:
    ids = names(40)
    chosen = gradient_check.chosen(ids)
    assert len(chosen) == gradient_check.WATCHED
    assert chosen == gradient_check.chosen(ids[::-1])
    one, many = (attacked(PGD(steps=2), trained(4).network, size=size) for size in (16, 3))
    joined = gradient_check.Slopes.joined([outcome.slopes for outcome in many])
    assert one[0].slopes is not None
    assert joined is not None
    np.testing.assert_allclose(joined.errors, one[0].slopes.errors, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(joined.shortfall, one[0].slopes.shortfall, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("noisy", [False, True])
def test_watching_changes_no_volume_and_no_generator(*, noisy: bool) -> None:
    network = maskings.Around((lambda x: x + 0.1 * torch.randn_like(x)) if noisy else None)
    volumes, labels = task(8, 4, seed=5)
    classifier, before = Classifier(network, num_classes=4), None
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for watched in ((), None, names(8)):
        outcome = PGD(steps=3)(
            classifier, volumes, labels, severity=EPS, ids=names(8), seed=0, watched=watched
        )
        before = before or outcome
        assert torch.equal(outcome.volumes, before.volumes)
        assert np.array_equal(outcome.logits, before.logits)
        assert {name: list(values) for name, values in outcome.findings.items()} == {
            name: list(values) for name, values in before.findings.items()
        }
    assert before is not None
    assert before.slopes is None
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_no_more_passes_than_stated() -> None:
    class Counting(maskings.Around):
        forwards = backwards = 0

        def forward(self, volumes: Tensor) -> Tensor:
            Counting.forwards += len(volumes)
            if volumes.requires_grad:
                volumes.register_hook(self.count)
            return super().forward(volumes)

        def count(self, gradient: Tensor) -> None:
            Counting.backwards += len(gradient)

    attack, counts = PGD(steps=2), []
    volumes, labels = task(16, 4, seed=5)
    classifier = Classifier(Counting(), num_classes=4)
    for watched in ((), None):
        Counting.forwards = Counting.backwards = 0
        attack(classifier, volumes, labels, severity=EPS, ids=names(16), seed=0, watched=watched)
        counts.append((Counting.forwards, Counting.backwards))
    (fewer, least), (forwards, backwards) = counts
    stated = attack.checks(16)
    assert forwards - fewer == stated.forward - 3 * 16
    assert backwards - least == stated.backward


def test_the_checks_cost_less_than_a_tenth_of_pgd() -> None:
    """A backward pass counts as one forward pass, which is less than it costs."""
    attack = PGD()
    extra, own = attack.checks(128), attack.cost(2) * 128
    watching = extra.forward - 3 * 128 + extra.backward
    assert watching < 0.1 * (own.forward + own.backward)


def test_a_network_that_refuses_the_extra_passes_keeps_its_number() -> None:
    class Picky(maskings.Around):
        def forward(self, volumes: Tensor) -> Tensor:
            if len(volumes) not in (2, 16):
                raise ValueError("16 volumes, please")
            return super().forward(volumes)

    found = certified(PGD(steps=2), Picky())
    assert {check.verdict for check in found.values()} == {"not applicable"}
    assert {check.reason for check in found.values()} == {"no volume was watched"}
