"""PGD-10 as a user would write it against PGD-10 as the harness runs it, side by side.

The naive loop is torchattacks on the stock network, as it stands after training: torch's own
convolutions in torch's default memory layout, normalisations unfolded, then a look at what it makes
of the clean and of the adversarial volumes. Both start at the clean volume and take the same steps.
"""

from __future__ import annotations

import copy
import statistics
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from unittest import mock

import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

from benchharness import attacks, datasets, registry
from benchharness.networks import devices
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.statistics import metrics
from medvit3d import layers
from medvit3d.convolution import GroupedConv3d, PointwiseConv3d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

MODELS = ("medvit3d_t", "medvit3d_n", "resnet3d_18")
STEPS, EPSILON, ROUNDS, MARGIN = 10, 2 / 255, 5, 0.01
SHORT: dict[str, dict[str, int]] = {
    "noise_sign": {},
    "fgsm": {},
    "pgd": {},
    "apgd_ce": {"steps": 10},
    "fab": {"steps": 5},
    "square3d": {"queries": 20},
    "autoattack3d": {"steps": 5, "queries": 20},
    "pgd_l2": {},
    "square3d_l2": {"queries": 20},
    "deepfool": {"steps": 5},
    "cw": {"steps": 10, "search_steps": 2},
    "voxel_flip": {"rounds": 1},
    "slab": {"rounds": 1},
}
"""Attacks whose time outside the network is told, with few iterations: it is that of each."""
UNBREAKABLE = {"linf": 1e-4, "l2": 1e-4}
"""Budgets so small that every volume gets every iteration; elsewhere a count of 1."""
BATCH = devices.batch_size("cpu", (28, 28, 28))
"""What the harness takes on a CPU where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one model gave; times are medians in milliseconds a volume."""

    model: str
    naive: float
    ours: float
    outside: float
    """Share of `ours` that is spent neither in the network nor on the way back through it."""
    difference: float
    """Root mean square of the difference of the two results, in ε."""
    changed: int
    """Verdicts that differ although neither margin is within 0.01."""

    def __str__(self) -> str:
        return (
            f"{self.model:<14}{self.naive:>9.1f}{self.ours:>9.1f}{self.naive / self.ours:>8.2f}"
            f"{self.outside:>10.1%}{self.difference:>12.1e}{self.changed:>8} of {BATCH}"
        )


def main() -> None:
    """Print, for each model, both times, their ratio, and how far the results are apart."""
    devices.keep_memory()  # as `bench run` does
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = f"{torch.get_num_threads()} threads"
    where = torch.cuda.get_device_name() if device == "cuda" else threads
    print(f"PGD-{STEPS}, batch {BATCH}, 28³, {where}, ms a volume")
    print(
        f"{'model':<14}{'naive':>9}{'ours':>9}{'ratio':>8}{'outside':>10}"
        f"{'rms Δ / ε':>12}{'verdicts':>14}"
    )
    for name in MODELS:
        print(measure(name, device), flush=True)
    print(f"\noutside the network, batch {BATCH}, 28³, {where}")
    print(f"{'attack':<16}" + "".join(f"{name:>14}" for name in MODELS))
    settings = [prepared_classifier(name, device) for name in MODELS]
    for name, parameters in SHORT.items():
        shares = (outside(attacks.build(name, parameters), *given) for given in settings)
        print(f"{name:<16}" + "".join(f"{share:>14.1%}" for share in shares), flush=True)


def measure(name: str, device: str) -> Row:
    """Attack the same volumes both ways, in turns, and compare."""
    split = datasets.load("phantom3d", None).val
    volumes = as_float(split.volumes[:BATCH], device)
    labels = torch.from_numpy(split.labels[:BATCH]).to(device)
    network = prepared(name, volumes)
    classifier = Classifier(network, num_classes=4, device=device).for_evaluation()
    plain_network = stock(network)
    naive_attack = torchattacks.PGD(
        plain_network, eps=EPSILON, alpha=2.5 * EPSILON / STEPS, steps=STEPS, random_start=False
    )
    ours_attack = attacks.build("pgd", {"random_start": False})
    watch = Stopwatch(classifier.network)
    classifier.network = watch
    seconds: dict[str, list[float]] = {"naive": [], "ours": []}
    outside = []
    for _ in range(1 + ROUNDS):
        with default_layout():
            adversarial = _timed(
                seconds["naive"], lambda: naive_loop(naive_attack, plain_network, volumes, labels)
            )
        watch.seconds = 0.0
        outcome = _timed(
            seconds["ours"],
            lambda: ours_attack(
                classifier,
                volumes,
                labels,
                severity=EPSILON,
                ids=list(split.ids[:BATCH]),
                seed=0,
            ),
        )
        outside.append(1 - watch.seconds / seconds["ours"][-1])
    # The first round warms up.
    naive, ours = (
        statistics.median(seconds[which][1:]) * 1000 / BATCH for which in ("naive", "ours")
    )
    with torch.no_grad():
        reference = network(adversarial).cpu().numpy()
    truth = labels.cpu().numpy()
    margins = [metrics.margins(truth, logits) for logits in (reference, outcome.logits)]
    apart = (np.abs(margins) > MARGIN).all(0) & ((margins[0] > 0) != (margins[1] > 0))
    difference = (adversarial - outcome.volumes).square().mean().sqrt() / EPSILON
    return Row(
        model=name,
        naive=naive,
        ours=ours,
        outside=statistics.median(outside[1:]),
        difference=float(difference),
        changed=int(apart.sum()),
    )


def prepared_classifier(name: str, device: str) -> tuple[Classifier, Tensor, Tensor, list[str]]:
    """A watched classifier with volumes that it gets right: volumes, labels and ids."""
    split = datasets.load("phantom3d", None).val
    volumes = as_float(split.volumes[:BATCH], device)
    classifier = Classifier(prepared(name, volumes), num_classes=4, device=device).for_evaluation()
    labels = torch.from_numpy(classifier.predict(volumes, BATCH)).argmax(1)
    classifier.network = Stopwatch(classifier.network)
    return classifier, volumes, labels, list(split.ids[:BATCH])


def outside(
    attack: attacks.Attack, classifier: Classifier, volumes: Tensor, labels: Tensor, ids: list[str]
) -> float:
    """Share of an attack that is spent outside the network, of the second of two runs."""
    watch = classifier.network
    assert isinstance(watch, Stopwatch)
    severity = UNBREAKABLE.get(attack.norm, 1)
    seconds: list[float] = []
    for _ in range(2):
        watch.seconds = 0.0
        _timed(
            seconds,
            lambda: attack(classifier, volumes, labels, severity=severity, ids=ids, seed=0),
        )
    return 1 - watch.seconds / seconds[-1]


def prepared(name: str, volumes: Tensor) -> nn.Module:
    """A network with random weights whose normalisations have seen volumes."""
    torch.manual_seed(0)
    network: nn.Module = registry.load("models", name)(4).to(volumes.device).train()
    with torch.no_grad():
        for _ in range(20):
            network(volumes)
    return network.eval().requires_grad_(requires_grad=False)


def stock(network: nn.Module) -> nn.Module:
    """The same network with every convolution run and differentiated by torch alone."""
    plain = copy.deepcopy(network).requires_grad_()
    for module in plain.modules():
        if isinstance(module, GroupedConv3d | PointwiseConv3d):
            module.__class__ = nn.Conv3d
    return plain


def naive_loop(
    attack: torchattacks.PGD, network: nn.Module, volumes: Tensor, labels: Tensor
) -> Tensor:
    """Attack one batch and count what is right before and after."""
    adversarial: Tensor = attack(volumes, labels)
    with torch.no_grad():
        for seen in (volumes, adversarial):
            (network(seen).argmax(1) == labels).sum().item()
    return adversarial


@contextmanager
def default_layout() -> Iterator[None]:
    """Features stay in torch's default memory layout, as in a network that nobody tuned."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(layers, "channels_last", lambda features: features))
        yield


class Stopwatch(nn.Module):
    """A network that adds up the time of its passes, forwards and back to its input.

    Args:
        network: What is timed.

    Attributes:
        seconds: Spent since it was last set to 0.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seconds = 0.0

    def forward(self, volumes: Tensor) -> Tensor:
        self._count(-1)
        logits: Tensor = self.network(volumes)
        self._count(+1)
        if logits.requires_grad:
            # Called when the gradient of each is known: that of the logits comes first.
            logits.register_hook(lambda _: self._count(-1))
            volumes.register_hook(lambda _: self._count(+1))
        return logits

    def _count(self, sign: int) -> None:
        _wait()
        self.seconds += sign * time.perf_counter()


def _timed(durations: list[float], call: Callable[[], T]) -> T:
    _wait()
    began = time.perf_counter()
    result = call()
    _wait()
    durations.append(time.perf_counter() - began)
    return result


def _wait() -> None:
    """A GPU works on after a call returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
