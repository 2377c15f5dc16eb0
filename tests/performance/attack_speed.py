"""PGD-10 as a user would write it against PGD-10 as the harness runs it, side by side."""

from __future__ import annotations

import copy
import statistics
import time
from typing import TYPE_CHECKING, TypeVar

import torch
import torchattacks
from torch import nn

from benchharness import attacks, registry
from benchharness.classifier import Classifier
from medvit3d.convolution import GroupedConv3d, PointwiseConv3d

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MODELS = ("medvit3d_t", "medvit3d_n", "resnet3d_18")
BATCH, GRID, STEPS, EPSILON, ROUNDS = 16, 28, 10, 2 / 255, 3


def stock(network: nn.Module) -> nn.Module:
    """The same network with every convolution run and differentiated by torch alone."""
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, GroupedConv3d | PointwiseConv3d):
            module.__class__ = nn.Conv3d
    return plain


def main() -> None:
    """Print, for each model, both times, their ratio, and how far the results are apart."""
    print(f"PGD-{STEPS}, batch {BATCH}, {GRID}³, {torch.get_num_threads()} threads, ms a volume")
    print(f"{'model':<14}{'naive':>10}{'ours':>10}{'ratio':>8}{'max |Δlogit|':>14}{'verdicts':>10}")
    for name in MODELS:
        print(_row(name))


def _row(name: str) -> str:
    torch.manual_seed(0)
    network = registry.load("models", name)(4).eval()
    volumes = torch.rand(BATCH, 1, GRID, GRID, GRID)
    labels = torch.arange(BATCH) % 4
    ids = [f"bench/{index}" for index in range(BATCH)]
    classifier = Classifier(network, num_classes=4)
    # Both start at the clean volume, so that they walk the same path.
    naive_attack = torchattacks.PGD(
        stock(network), eps=EPSILON, alpha=2.5 * EPSILON / STEPS, steps=STEPS, random_start=False
    )
    ours_attack = attacks.build("pgd", {"random_start": False})
    seconds: dict[str, list[float]] = {"naive": [], "ours": []}
    for _ in range(ROUNDS):
        adversarial = _timed(seconds["naive"], lambda: naive_attack(volumes, labels))
        outcome = _timed(
            seconds["ours"],
            lambda: ours_attack(classifier, volumes, labels, severity=EPSILON, ids=ids, seed=0),
        )
    with torch.no_grad():
        reference = network(adversarial)
    reached = torch.from_numpy(outcome.logits)
    naive, ours = (statistics.median(values) * 1000 / BATCH for values in seconds.values())
    changed = int((reference.argmax(1) != reached.argmax(1)).sum())
    return (
        f"{name:<14}{naive:>10.1f}{ours:>10.1f}{naive / ours:>8.2f}"
        f"{float((reference - reached).abs().max()):>14.1e}{changed:>7} of {BATCH}"
    )


def _timed(durations: list[float], call: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = call()
    durations.append(time.perf_counter() - began)
    return result
