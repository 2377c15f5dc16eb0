"""Attacks on a linear network, whose optimum and minimal norm have a closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness.attacks import (
    APGDCE,
    APGDCEL2,
    FAB,
    FABL2,
    FGSM,
    MIFGSM,
    PGD,
    PGDL2,
    APGDMargin,
    APGDMarginL2,
    CarliniWagner,
    Cube,
    DeepFool,
    Slab,
    VoxelFlip,
)
from benchharness.attacks.core.hyperplanes import to_hyperplane
from benchharness.attacks.core.norms import L2_RMS, LINF
from tests.attacks.attack_networks import linear, names, volumes_like

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks import Attack
    from benchharness.attacks.core.norms import Budget
    from benchharness.networks.classifier import Classifier

SHAPE = (1, 6, 7, 8)
VOXELS = 6 * 7 * 8


class Problem:
    """Volumes of a two-class linear network, labelled as it predicts."""

    def __init__(self, volumes: Tensor, *, lead: float = 0.0) -> None:
        self.volumes = volumes
        self.classifier: Classifier = linear(2, VOXELS, scale=2.0)
        self.classifier.network.bias.data[0] += lead
        with torch.no_grad():
            logits = self.classifier(volumes).double()
        self.labels = logits.argmax(1)
        self.margins = self.margin_of(logits.numpy())
        weight = self.classifier.network.weight.detach().double()
        # The gradient of the margin z_y − z_other, for each volume.
        self.gradient = torch.stack([weight[y] - weight[1 - y] for y in self.labels.tolist()])

    def margin_of(self, logits: np.ndarray) -> np.ndarray:
        """z_y − z_other."""
        rows, own = np.arange(len(logits)), self.labels.numpy()
        return (logits[rows, own] - logits[rows, 1 - own]).astype(np.float64)

    def attacked(self, attack: Attack, severity: float) -> np.ndarray:
        """How far the margin fell."""
        outcome = attack(
            self.classifier,
            self.volumes,
            self.labels,
            severity=severity,
            ids=names(len(self.volumes)),
            seed=0,
        )
        return self.margins - self.margin_of(outcome.logits)

    def needed(self, attack: Attack) -> np.ndarray:
        outcome = attack(
            self.classifier,
            self.volumes,
            self.labels,
            severity=1.0,
            ids=names(len(self.volumes)),
            seed=0,
        )
        assert outcome.findings["found"].all()
        assert outcome.findings["broken"].all()
        return outcome.findings["minimal_norm"].astype(np.float64)


@pytest.fixture(scope="module")
def interior() -> Problem:
    """Volumes in [0.25, 0.75]: the range never binds."""
    return Problem(volumes_like(6, SHAPE) * 0.5 + 0.25)


@pytest.fixture(scope="module")
def masks() -> Problem:
    """Binary masks: the range binds for about half of the voxels."""
    return Problem((volumes_like(6, SHAPE) > 0.5).float())


@pytest.fixture(scope="module")
def unbroken() -> Problem:
    """Binary masks that no few voxels break: what stops at a broken volume goes on to the best."""
    return Problem((volumes_like(6, SHAPE) > 0.5).float(), lead=100.0)


@pytest.mark.parametrize(
    "attack",
    [FGSM(), PGD(random_start=False), MIFGSM(), APGDCE(), APGDMargin()],
    ids=lambda attack: attack.name,
)
def test_linf_optimum(interior: Problem, attack: Attack) -> None:
    best = 0.02 * interior.gradient.abs().sum(1).numpy()
    np.testing.assert_allclose(interior.attacked(attack, 0.02), best, rtol=1e-3)


@pytest.mark.parametrize(
    "attack",
    [PGDL2(random_start=False), APGDCEL2(), APGDMarginL2()],
    ids=lambda attack: attack.name,
)
def test_l2_optimum(interior: Problem, attack: Attack) -> None:
    best = 0.02 * VOXELS**0.5 * interior.gradient.norm(dim=1).numpy()
    np.testing.assert_allclose(interior.attacked(attack, 0.02), best, rtol=1e-3)


def test_pgd_from_a_random_start_comes_near(interior: Problem) -> None:
    best = 0.02 * interior.gradient.abs().sum(1).numpy()
    reached = interior.attacked(PGD(), 0.02) / best
    assert reached.min() > 0.95
    assert reached.max() <= 1 + 1e-5


@pytest.mark.parametrize("severity", [0.02, 0.3])
def test_linf_optimum_on_masks(masks: Problem, severity: float) -> None:
    """Voxels at exactly 0 and 1 move inwards as far as any other."""
    down = -masks.gradient.sign()
    clean = masks.volumes.flatten(1).double()
    step = (clean + severity * down).clamp(0, 1) - clean
    best = -(step * masks.gradient).sum(1).numpy()
    for attack in (FGSM(), PGD(random_start=False), APGDCE(steps=20)):
        np.testing.assert_allclose(masks.attacked(attack, severity), best, rtol=1e-3)


def box_norm(problem: Problem, norm: Budget) -> np.ndarray:
    """The minimal norm within [0, 1], by bisection on the multiplier: an independent route."""
    clean, down = problem.volumes.flatten(1).double(), -problem.gradient
    direction = down.sign() if norm is LINF else down
    low, high = torch.zeros(len(clean), 1).double(), torch.full((len(clean), 1), 1e4).double()
    for _ in range(200):
        middle = (low + high) / 2
        step = (clean + middle * direction).clamp(0, 1) - clean
        enough = ((step * down).sum(1) >= torch.from_numpy(problem.margins))[:, None]
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    step = (clean + high * direction).clamp(0, 1) - clean
    return norm.size(step).numpy()


@pytest.mark.parametrize("norm", [LINF, L2_RMS], ids=["linf", "l2"])
def test_to_hyperplane_is_the_projection(masks: Problem, norm: Budget) -> None:
    clean = masks.volumes.double()
    step = to_hyperplane(
        clean, masks.gradient.view_as(clean), -torch.from_numpy(masks.margins), norm
    )
    assert ((clean + step >= 0) & (clean + step <= 1)).all()
    change = (step.flatten(1) * masks.gradient).sum(1).numpy()
    np.testing.assert_allclose(change, -masks.margins, rtol=1e-9)
    np.testing.assert_allclose(norm.size(step).numpy(), box_norm(masks, norm), rtol=1e-6)


def test_to_hyperplane_out_of_reach_goes_to_the_corner(masks: Problem) -> None:
    clean = masks.volumes.double()
    gradient = masks.gradient.view_as(clean)
    step = to_hyperplane(clean, gradient, torch.full((6,), 1e6).double(), LINF)
    assert torch.equal(clean + step, (gradient > 0).double())


def test_to_hyperplane_without_a_gradient_stays() -> None:
    clean = volumes_like(2)
    step = to_hyperplane(clean, torch.zeros_like(clean), torch.ones(2), L2_RMS)
    assert step.abs().max() == 0


@pytest.mark.parametrize("norm", [LINF, L2_RMS], ids=["linf", "l2"])
def test_to_hyperplane_ends_for_a_gradient_of_nan(norm: Budget) -> None:
    clean = volumes_like(3)
    gradient = torch.ones_like(clean)
    gradient[1, 0, 0, 0, 0] = torch.nan
    step = to_hyperplane(clean, gradient, torch.full((3,), 2.0), norm)
    assert step[1].isnan().any()
    rises = (step * gradient).flatten(1).sum(1)[[0, 2]]
    torch.testing.assert_close(rises, torch.full((2,), 2.0))


@pytest.mark.parametrize("kind", ["interior", "masks"])
@pytest.mark.parametrize(
    "attack",
    [FAB(steps=30), FAB(steps=30, targets=3), FABL2(steps=30), DeepFool(), CarliniWagner()],
    ids=lambda attack: f"{attack.name}, {attack.parameters().get('targets', 0)} targets",
)
def test_minimal_norm(kind: str, attack: Attack, request: pytest.FixtureRequest) -> None:
    problem: Problem = request.getfixturevalue(kind)
    needed = problem.needed(attack)
    best = box_norm(problem, LINF if attack.norm == "linf" else L2_RMS)
    np.testing.assert_allclose(needed, best, rtol=0.01)


@pytest.mark.parametrize(
    "attack", [FAB(steps=20), FABL2(steps=20), DeepFool()], ids=lambda attack: attack.name
)
def test_a_volume_is_broken_at_a_budget_if_its_norm_is_within(
    interior: Problem, attack: Attack
) -> None:
    needed = interior.needed(attack)
    budget = float(np.median(needed))
    outcome = attack(
        interior.classifier,
        interior.volumes,
        interior.labels,
        severity=budget,
        ids=names(6),
        seed=0,
    )
    broken = outcome.logits.argmax(1) != interior.labels.numpy()
    assert 0 < broken.sum() < 6
    assert np.array_equal(broken, needed <= budget)
    untouched = torch.from_numpy(~broken)
    assert torch.equal(outcome.volumes[untouched], interior.volumes[untouched])


def test_a_minimal_norm_that_does_not_exist_is_not_reported_as_found(interior: Problem) -> None:
    classifier = linear(2, VOXELS)
    classifier.network.bias.data[0] += 1e3
    outcome = DeepFool(steps=3)(
        classifier,
        interior.volumes,
        torch.zeros(6, dtype=torch.int64),
        severity=1.0,
        ids=names(6),
        seed=0,
    )
    assert not outcome.findings["found"].any()
    assert (outcome.findings["minimal_norm"] == 1).all()
    assert torch.equal(outcome.volumes, interior.volumes)


@pytest.mark.parametrize("count", [1, 7])
def test_voxel_flip_takes_the_best_voxels(unbroken: Problem, count: int) -> None:
    clean = unbroken.volumes.flatten(1).double()
    gain = torch.where(unbroken.gradient > 0, clean, clean - 1) * unbroken.gradient
    best = gain.topk(count, dim=1).values.sum(1).numpy()
    np.testing.assert_allclose(unbroken.attacked(VoxelFlip(), count), best, rtol=1e-3)


@pytest.mark.parametrize("attack", [Slab(), Cube()], ids=lambda attack: attack.name)
def test_regions_find_the_best_place(unbroken: Problem, attack: Attack) -> None:
    clean = unbroken.volumes.flatten(1).double()
    gain = torch.where(unbroken.gradient > 0, clean, clean - 1) * unbroken.gradient
    gain = gain.view(6, *SHAPE[1:])
    if attack.name == "slab":
        whole = [gain.sum([other for other in (1, 2, 3) if other != axis]) for axis in (1, 2, 3)]
        sums = torch.cat([line.unfold(1, 2, 1).sum(2) for line in whole], dim=1)
    else:
        sums = gain.unfold(1, 2, 1).unfold(2, 2, 1).unfold(3, 2, 1).sum((4, 5, 6)).flatten(1)
    best = sums.amax(1).numpy()
    np.testing.assert_allclose(unbroken.attacked(attack, 2), best, rtol=1e-3)
