"""Adversarial training where its effect is known in closed form."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchharness import training
from benchharness.errors import CellError
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from benchharness.store.cells import ModelKey
from benchharness.training import adversarial, loop, objective, recipes, selection
from tests import samples
from tests.training import fallen

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.training.recipe import Recipe

EPS = 0.05
ADV = dataclasses.replace(recipes.find("adv_pgd"), eps=EPS, ramp=0)
TRADES = dataclasses.replace(recipes.find("trades"), eps=EPS, ramp=0)
FAST = dataclasses.replace(recipes.find("adv_fast"), eps=EPS, ramp=0)


class Linear(nn.Module):
    """Logits (0, w·x + b)."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, generator=generator) / 8)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, volumes: Tensor) -> Tensor:
        score = volumes.flatten(1) @ self.weight + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


def batch(seed: int = 1, count: int = 16) -> tuple[Tensor, Tensor]:
    """Volumes far from 0 and 1, so that the ball is whole, and labels."""
    generator = torch.Generator().manual_seed(seed)
    volumes = 0.3 + 0.4 * torch.rand((count, 1, 4, 4, 4), generator=generator)
    return volumes, torch.arange(count) % 2


def robust_loss(network: Linear, volumes: Tensor, labels: Tensor) -> Tensor:
    """The worst logistic loss in the L∞ ball: that at margin − ε‖w‖₁."""
    margin = (2 * labels - 1) * (volumes.flatten(1) @ network.weight + network.bias)
    return F.softplus(-(margin - EPS * network.weight.abs().sum())).mean()


def learned(classifier: Classifier, volumes: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """The loss of one training step, at the whole budget."""
    starts = torch.Generator().manual_seed(3)
    return objective.loss(classifier, recipe, volumes, labels, None, eps=recipe.eps, starts=starts)


def test_training_a_linear_model_minimises_its_robust_loss() -> None:
    trained, exact = Classifier(Linear(), num_classes=2), Linear()
    optimisers = [torch.optim.SGD(m.parameters(), lr=0.5) for m in (trained, exact)]
    trained.train()
    for step in range(12):
        volumes, labels = batch(step)
        losses = (learned(trained, volumes, labels, ADV), robust_loss(exact, volumes, labels))
        torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
        for optimiser, loss in zip(optimisers, losses, strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for own, expected in zip(trained.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
    # It gave up weight that an adversary would use: clean training ends elsewhere.
    assert float((exact.weight - Linear().weight).detach().abs().max()) > 0.01


def test_one_step_from_a_random_start_reaches_no_more_than_the_ball() -> None:
    network = Linear()
    volumes, labels = batch()
    crafted = adversarial.craft(
        network, volumes, labels, recipe=FAST, eps=EPS, generator=torch.Generator().manual_seed(0)
    )
    assert float((crafted - volumes).abs().max()) <= EPS + 1e-6
    clean = F.cross_entropy(network(volumes), labels)
    found = F.cross_entropy(network(crafted), labels)
    assert clean < found < robust_loss(network, volumes, labels)
    # Wong et al.: δ = clip(uniform + 1.25 ε · sign).
    start = torch.empty(volumes.shape).uniform_(
        -EPS, EPS, generator=torch.Generator().manual_seed(0)
    )
    sign = (network.weight.sign() * (1 - 2 * labels[:, None])).view(volumes.shape)
    torch.testing.assert_close(crafted, volumes + (start + 1.25 * EPS * sign).clamp(-EPS, EPS))


def test_the_loss_of_trades_is_its_formula() -> None:
    """Zhang et al. 2019, eq. 5, in float64 and with the divergence written out."""
    network = Linear()
    volumes, labels = batch()
    moved = volumes + EPS * torch.randn(volumes.shape, generator=torch.Generator().manual_seed(5))
    found = adversarial.loss(network, volumes, moved, labels, recipe=TRADES)
    p, q = (F.softmax(network(x).double(), 1).detach().numpy() for x in (volumes, moved))
    own = -np.log(p[np.arange(len(p)), labels.numpy()]).mean()
    apart = (p * np.log(p / q)).sum(1).mean()
    assert apart > 0
    assert float(found.detach()) == pytest.approx(own + 6.0 * apart, rel=1e-5)


def test_trades_climbs_the_divergence_and_learns_through_both_predictions() -> None:
    classifier = Classifier(Linear(), num_classes=2)
    volumes, labels = batch()
    with adversarial.attacked(classifier, None) as network:
        crafted = adversarial.craft(
            network, volumes, labels, recipe=TRADES, eps=EPS, generator=torch.Generator()
        )
        clean = network(volumes)
        # Of a linear model the divergence is largest at a corner on one side or the other.
        corner = EPS * classifier.network.weight.detach().sign().view(1, 1, 4, 4, 4)
        best = torch.maximum(
            adversarial.divergence(clean, network(volumes + corner)),
            adversarial.divergence(clean, network(volumes - corner)),
        )
        found = adversarial.divergence(clean, network(crafted))
    assert float((found / best).min()) > 0.5
    assert float((found / best).max()) <= 1 + 1e-4
    loss = adversarial.loss(classifier, volumes, crafted, labels, recipe=TRADES)
    (gradient,) = torch.autograd.grad(loss, [classifier.network.weight])
    clean, attacked = classifier(volumes), classifier(crafted).detach()
    half = F.cross_entropy(clean, labels) + 6 * adversarial.divergence(clean, attacked).mean()
    (stopped,) = torch.autograd.grad(half, [classifier.network.weight])
    assert not torch.allclose(gradient, stopped)


def test_crafting_leaves_the_network_as_it_was() -> None:
    """BatchNorm sees no adversarial volumes but those that it learns from."""
    classifier = Classifier(samples.tiny(2), num_classes=2).train()
    classifier.network.features[3].eval()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    volumes = torch.rand(4, 1, 12, 12, 12)
    with adversarial.attacked(classifier, None) as network:
        adversarial.craft(
            network,
            volumes,
            torch.tensor([0, 1, 0, 1]),
            recipe=ADV,
            eps=EPS,
            generator=torch.Generator(),
        )
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    assert [module.training for module in classifier.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())


def test_factors_of_shape_sets_reach_the_adversary() -> None:
    """The volumes that it crafts are those that are multiplied, not those after the fixed 0.5."""
    classifier = Classifier(Linear(), Preprocessing(scale=0.5), num_classes=2)
    volumes, _ = batch()
    factors = torch.linspace(0.1, 1, len(volumes))[:, None, None, None, None]
    with adversarial.attacked(classifier, factors) as network:
        torch.testing.assert_close(network(volumes), classifier.network(volumes * factors))
    with adversarial.attacked(classifier, None) as network:
        torch.testing.assert_close(network(volumes), classifier.network(volumes * 0.5))


def test_the_budget_rises_over_the_ramp() -> None:
    recipe = dataclasses.replace(ADV, ramp=2)
    shares = [adversarial.budget(recipe, epochs) / EPS for epochs in (0, 0.5, 1, 2, 7)]
    assert shares == pytest.approx([0, 0.25, 0.5, 1, 1])
    assert adversarial.budget(ADV, 0) == EPS
    volumes, labels = batch()
    crafted = adversarial.craft(
        Linear(), volumes, labels, recipe=recipe, eps=0, generator=torch.Generator()
    )
    assert torch.equal(crafted, volumes)


# Catastrophic overfitting.

FALLS = dataclasses.replace(
    recipes.find("adv_fast"), eps=fallen.EPS, ramp=0, epochs=4, batch_size=4, flips=False
)


def fall(directory: Path, sound: int, notes: list[str]) -> loop.ModelCard:
    model = ModelKey(
        name="fallen", factory="tests.training.fallen:fallen", arguments=(("sound", sound),)
    )
    job = training.Job(
        model=model, dataset=fallen.dataset(), recipe=FALLS, seed=0, directory=directory
    )
    return loop.train(job, device="cpu", note=notes.append)


def test_overfitting_to_a_single_step_is_seen() -> None:
    val = fallen.dataset().val
    sound = Classifier(fallen.fallen(2, sound=1), num_classes=2)
    found = selection.judge(sound, val, FALLS, seed=0)
    assert (found.auc, found.overfitting) == (1.0, "")
    overfitted = Classifier(fallen.fallen(2), num_classes=2)
    found = selection.judge(overfitted, val, FALLS, seed=0)
    assert found.auc == 0.0
    assert found.overfitting == (
        "catastrophic overfitting: val accuracy 1.000 under one step, 0.000 under PGD-10"
    )
    unwatched = dataclasses.replace(FALLS, overfitting_gap=0.0)
    assert selection.judge(overfitted, val, unwatched, seed=0).overfitting == ""


def test_a_training_that_overfits_falls_back_to_the_weights_before(tmp_path: Path) -> None:
    notes: list[str] = []
    # Two passes a batch of four: the valley opens in epoch 3 of 4.
    card = fall(tmp_path, sound=5, notes=notes)
    assert card.selection_epoch == 1
    assert card.ended == (
        "epoch 3 ended the training, catastrophic overfitting: val accuracy 1.000 under one step, "
        "0.000 under PGD-10"
    )
    assert notes == [f"fallen on fallen: {card.ended}"]


def test_a_training_that_overfits_at_once_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CellError, match=r"and no epoch before it. Take a smaller eps or more st"):
        fall(tmp_path, sound=1, notes=[])
