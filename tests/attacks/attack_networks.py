"""Tiny networks of volumes, and a task that they learn in a second."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchharness import datasets
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier


class Linear(nn.Module):
    """Logits w·x + b: attacks on it have a closed form."""

    def __init__(self, voxels: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        weights = torch.randn(num_classes, voxels, generator=torch.Generator().manual_seed(3))
        self.weight = nn.Parameter(weights * scale / voxels**0.5)
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, volumes: Tensor) -> Tensor:
        return volumes.flatten(1) @ self.weight.T + self.bias


class Tiny(nn.Module):
    """Two convolutions with BatchNorm, and a pooled head that keeps some geometry."""

    def __init__(self, num_classes: int, in_channels: int = 1, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(in_channels, width, 3, padding=1),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(2),
        )
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.head(self.features(volumes).flatten(1))


class NoWayBack(torch.autograd.Function):
    """The identity, whose backward raises."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError("no way back")


class BlackBox(nn.Module):
    """A network that answers and cannot be differentiated."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, volumes: Tensor) -> Tensor:
        return NoWayBack.apply(self.inner(volumes))


def tiny(num_classes: int, in_channels: int = 1, seed: int = 0) -> Classifier:
    """An untrained network in training mode, as a user may hand it over."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Tiny(num_classes, in_channels)
        network(torch.rand(16, in_channels, 6, 6, 6))  # BatchNorm statistics
    return Classifier(network, num_classes=num_classes)


def linear(num_classes: int, voxels: int, scale: float = 1.0) -> Classifier:
    return Classifier(Linear(voxels, num_classes, scale), num_classes=num_classes)


def volumes_like(count: int, shape: tuple[int, ...] = (1, 6, 7, 8), *, seed: int = 1) -> Tensor:
    """Uniform noise, with some voxels exactly 0 and 1."""
    volumes = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    return ((volumes - 0.5) * 1.2 + 0.5).clamp(0, 1)


def task(count: int, num_classes: int, size: int = 8, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise with a bright cube in the octant that the class names, up to eight classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % num_classes
    volumes = 0.4 + 0.1 * torch.randn(count, 1, size, size, size, generator=generator)
    half = size // 2
    for volume, label in zip(volumes, labels.tolist(), strict=True):
        corner = [half * ((label >> axis) & 1) for axis in range(3)]
        where = tuple(slice(start, start + half) for start in corner)
        volume[0][where] += 0.15
    return volumes.clamp(0, 1), labels


@cache
def trained(num_classes: int) -> Classifier:
    """A network that solves `task`, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Tiny(num_classes)
        volumes, labels = task(256, num_classes, seed=1)
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(6):
            for batch in torch.randperm(len(volumes)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(network(volumes[batch]), labels[batch]).backward()
                optimizer.step()
    network.eval()
    return Classifier(network, num_classes=num_classes)


def on_phantoms(seed: int) -> Classifier:
    """A network trained on the phantoms of 28³ in about a minute, in evaluation mode."""
    train = datasets.load("phantom3d", None).train
    volumes, labels = as_float(train.volumes, "cpu"), torch.from_numpy(train.labels)
    epochs = 30
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.AvgPool3d(2), Tiny(4, width=12))
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1e-2, total_steps=epochs * len(labels) // 32
        )
        for _ in range(epochs):
            for batch in torch.randperm(len(labels)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(network(volumes[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()
    return Classifier(network.eval(), num_classes=4)


def accuracy(classifier: Classifier, volumes: Tensor, labels: Tensor) -> float:
    predicted = torch.from_numpy(classifier.predict(volumes, 64)).argmax(1)
    return float((predicted == labels).double().mean())


def names(count: int) -> list[str]:
    return [f"set/test/{index}" for index in range(count)]
