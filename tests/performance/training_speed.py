"""An epoch of `bench train` against MedMNIST's own training loop, on the same volumes and batches.

MedMNIST's loop (`train_and_eval_pytorch.py` of its experiments) is a data loader that scales each
volume, the network as torch runs it, Adam, and one step a batch. The other is the harness's, with
the recipe `medmnist`. Gradients of one batch are compared beforehand.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchharness import datasets, registry, training
from benchharness.networks import devices
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.store.cells import ModelKey
from benchharness.training import beginning, loop
from benchharness.training.recipes import RECIPES
from tests.performance.attack_speed import default_layout, stock

if TYPE_CHECKING:
    from benchharness.datasets.base import Split

MODELS = ("medvit3d_t", "medvit3d_n", "resnet3d_18")
BATCHES, ROUNDS = 4, 5
EXACT = 8
"""Volumes on which gradients are compared."""
SMALL = 1e-8
"""Gradients smaller than this are zero but for rounding, as those of a bias before a norm are."""
RECIPE = RECIPES["medmnist"]
BATCH = RECIPE.batch_size


def main() -> None:
    """Print, for each model, both times of a volume, their ratio and the gradients' difference."""
    devices.keep_memory()  # as `bench train` does
    print(f"training, batch {BATCH}, 28³, {torch.get_num_threads()} threads, ms a volume")
    print(f"{'model':<14}{'MedMNIST':>10}{'harness':>9}{'ratio':>8}{'gradients apart':>18}")
    for name in MODELS:
        theirs, ours, difference = measure(name)
        print(
            f"{name:<14}{theirs:>10.1f}{ours:>9.1f}{theirs / ours:>8.2f}{difference:>18.1e}",
            flush=True,
        )


def measure(name: str) -> tuple[float, float, float]:
    """Milliseconds a volume of both loops, in turn, and how far their gradients are apart."""
    whole = datasets.load("phantom3d", None)
    chosen = whole.train.subset(BATCHES * BATCH)
    data = replace(whole, train=chosen)
    with tempfile.TemporaryDirectory() as folder:
        job = training.Job(
            model=ModelKey(name=name, factory=registry.resolve("models", name).target),
            dataset=data,
            recipe=RECIPE,
            seed=0,
            directory=Path(folder),
        )
        state = beginning.begin(job, "cpu")
        classifier = Classifier.of(
            job.model, state.network, num_classes=data.num_classes, device="cpu"
        )
        plain = stock(state.network)
        difference = apart(plain, state.network, chosen)
        optimiser = torch.optim.Adam(plain.parameters(), lr=RECIPE.learning_rate)
        loader = DataLoader(Volumes(chosen), batch_size=BATCH, shuffle=True)
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(1 + ROUNDS):
            with default_layout():
                began = time.perf_counter()
                medmnist_epoch(plain, loader, optimiser)
                seconds[0].append(time.perf_counter() - began)
            began = time.perf_counter()
            loop.epoch(job, state, classifier)
            seconds[1].append(time.perf_counter() - began)
    # The first round warms up.
    theirs, ours = (statistics.median(one[1:]) * 1000 / len(chosen) for one in seconds)
    return theirs, ours, difference


def apart(plain: nn.Module, network: nn.Module, split: Split) -> float:
    """Largest difference of two copies' gradients, in the largest of its parameter.

    In float64, where rounding does not hide a wrong gradient: in float32, normalisation over the
    few voxels of the last stage makes large differences of small ones.
    """
    volumes = as_float(split.volumes[:EXACT], "cpu").double()
    labels = torch.from_numpy(split.labels[:EXACT])
    found = []
    for one in (plain, network):
        trained = copy.deepcopy(one).double().train()
        torch.manual_seed(0)
        F.cross_entropy(trained(volumes), labels).backward()
        found.append([parameter.grad for parameter in trained.parameters()])
    largest = 0.0
    for first, second in zip(*found, strict=True):
        assert first is not None
        assert second is not None
        size = float(second.abs().max())
        largest = max(largest, float((first - second).abs().max()) / max(size, SMALL))
    return largest


class Volumes(Dataset[tuple[Tensor, int]]):
    """One volume at a time, scaled to [0, 1] as MedMNIST's loop does."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return as_float(self.split.volumes[index], "cpu"), int(self.split.labels[index])


def medmnist_epoch(
    network: nn.Module,
    loader: DataLoader[tuple[Tensor, int]],
    optimiser: torch.optim.Optimizer,
) -> None:
    """One epoch as MedMNIST's script runs it."""
    network.train()
    for volumes, labels in loader:
        optimiser.zero_grad()
        loss = F.cross_entropy(network(volumes), labels)
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    main()
