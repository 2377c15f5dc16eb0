"""Trained networks with the volumes to attack, on which attacks are held against references."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from benchharness.datasets import phantom
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import names, task, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks import Attack

COUNT, CLASSES = 64, 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A trained network and the volumes to attack."""

    classifier: Classifier
    volumes: Tensor
    labels: Tensor
    budgets: dict[str, tuple[float, float, float]]
    """Three budgets, in 255ths, at which few, some and most volumes break: for gradients in either
    norm, and for logits alone."""

    def left_by(self, attack: Attack, severity: float, seed: int) -> int:
        """Volumes that are still classified correctly after an attack."""
        outcome = attack(
            self.classifier,
            self.volumes,
            self.labels,
            severity=severity,
            ids=names(len(self.labels)),
            seed=seed,
        )
        return int((outcome.logits.argmax(1) == self.labels.numpy()).sum())


@cache
def cubes() -> Target:
    """Bright cubes in noise at 8³; the network has two convolutions and ReLU."""
    volumes, labels = task(COUNT, CLASSES, seed=9)
    budgets = {"linf": (8, 10, 12), "l2": (5, 6, 7), "logits": (12, 14, 16)}
    return Target(classifier=trained(CLASSES), volumes=volumes, labels=labels, budgets=budgets)


@cache
def phantoms() -> Target:
    """Phantoms at 16³; the network halves the grid three times and has GELU."""

    def network() -> nn.Module:
        layers = [layer for sizes in ((1, 16), (16, 32), (32, 32)) for layer in _halving(*sizes)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, CLASSES))

    budgets = {"linf": (0.25, 0.5, 1), "l2": (0.25, 0.5, 0.75), "logits": (1, 2, 4)}
    return _trained(network, budgets)


@cache
def hardened() -> Target:
    """Phantoms at 16³; max-pooling and ReLU, trained on volumes that FGSM moved by 1/255."""

    def network() -> nn.Module:
        return nn.Sequential(
            *_halving(1, 8, nn.ReLU),
            *(nn.Conv3d(8, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2)),
            *(nn.Conv3d(16, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU()),
            *(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(128, CLASSES)),
        )

    budgets = {"linf": (1, 2, 4), "l2": (0.5, 1, 2), "logits": (6, 8, 12)}
    return _trained(network, budgets, epsilon=1 / 255)


def _halving(
    inputs: int, outputs: int, activation: type[nn.Module] = nn.GELU
) -> tuple[nn.Module, ...]:
    return nn.Conv3d(inputs, outputs, 3, 2, 1), nn.BatchNorm3d(outputs), activation()


def _trained(
    build: Callable[[], nn.Module],
    budgets: dict[str, tuple[float, float, float]],
    epsilon: float = 0.0,
) -> Target:
    """Train on phantoms, each moved by a sign step of `epsilon` first."""
    volumes, labels = _phantoms("train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build()
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
        for _ in range(20):
            for batch in torch.randperm(len(volumes)).split(32):
                shown, truth = volumes[batch].requires_grad_(), labels[batch]
                if epsilon:
                    loss = F.cross_entropy(network(shown), truth)
                    (gradient,) = torch.autograd.grad(loss, shown)
                    shown = (shown + epsilon * gradient.sign()).clamp(0, 1)
                optimizer.zero_grad()
                F.cross_entropy(network(shown.detach()), truth).backward()
                optimizer.step()
    volumes, labels = (part[:COUNT] for part in _phantoms("test"))
    classifier = Classifier(network.eval(), num_classes=CLASSES)
    return Target(classifier=classifier, volumes=volumes, labels=labels, budgets=budgets)


def _phantoms(split: str) -> tuple[Tensor, Tensor]:
    volumes, labels, _ = phantom.volumes(split, 16)
    return torch.from_numpy(volumes)[:, None].float() / 255, torch.from_numpy(labels)
