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
from torch.nn import functional as F

from benchharness import attacks, datasets, registry
from benchharness.attacks.core import base
from benchharness.networks import costs, devices
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.statistics import metrics
from benchharness.store.cells import ModelKey
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
WATCHED = 1
"""Volumes of the batch whose gradient is checked: a cell checks 8, so that a test split of 256
volumes has one in each of its batches. MedMNIST3D's have 174 to 610."""


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
    rate: float
    """Operations in `ours`, in 10⁹ a second: those of the stock network's passes."""
    peak: float
    """The most that a plain operation reached beside it."""

    def __str__(self) -> str:
        return (
            f"{self.model:<14}{self.naive:>9.1f}{self.ours:>9.1f}{self.naive / self.ours:>8.2f}"
            f"{self.outside:>10.1%}{self.difference:>12.1e}{self.changed:>8} of {BATCH}"
            f"{self.rate:>9.0f}{self.rate / self.peak:>8.0%}"
        )


def main() -> None:
    """Print, for each model, both times, their ratio, and how far the results are apart."""
    devices.keep_memory()  # as `bench run` does
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = f"{torch.get_num_threads()} threads"
    where = torch.cuda.get_device_name() if device == "cuda" else threads
    print(f"PGD-{STEPS}, batch {BATCH}, 28³, {where}, ms a volume")
    found = peaks(device)
    print("peak: " + ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in found.items()))
    print(
        f"{'model':<14}{'naive':>9}{'ours':>9}{'ratio':>8}{'outside':>10}"
        f"{'rms Δ / ε':>12}{'verdicts':>14}{'GFLOP/s':>9}{'of peak':>8}"
    )
    for name in MODELS:
        print(measure(name, device, max(found.values())), flush=True)
    print(f"\noutside the network, batch {BATCH}, 28³, {where}")
    print(f"{'attack':<16}" + "".join(f"{name:>14}" for name in MODELS))
    settings = [prepared_classifier(name, device) for name in MODELS]
    for name, parameters in SHORT.items():
        shares = (outside(attacks.build(name, parameters), *given) for given in settings)
        print(f"{name:<16}" + "".join(f"{share:>14.1%}" for share in shares), flush=True)


def measure(name: str, device: str, peak: float) -> Row:
    """Attack the same volumes both ways, in turns, and compare; `peak` in GFLOP/s."""
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
                watched=split.ids[:WATCHED],
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
        rate=_operations(ours_attack, name) / ours / 1e6,
        peak=peak,
    )


def _operations(attack: attacks.Attack, name: str) -> float:
    """Operations for one volume of the batch; a pass back to the voxels counts as one forward."""
    passes = attack.cost(4) * BATCH + base.CHECKING * BATCH + base.WATCHING * WATCHED
    model = ModelKey(name=name, factory=registry.resolve("models", name).target)
    each = costs.flops_of(model, num_classes=4, shape=(1, 28, 28, 28))
    return each * (passes.forward + passes.backward) / BATCH


def peaks(device: str) -> dict[str, float]:
    """GFLOP/s of a large matrix product and of a convolution, the best of ten."""
    layout = torch.channels_last_3d
    matrix = torch.rand(2048, 2048, device=device)
    volumes = torch.rand(BATCH, 128, 8, 8, 8, device=device).contiguous(memory_format=layout)
    kernel = torch.rand(128, 128, 3, 3, 3, device=device).contiguous(memory_format=layout)
    product, convolution = 2 * 2048**3, 2 * volumes.numel() * 128 * 27
    return {
        "matrix product": product / _best(lambda: matrix @ matrix) / 1e9,
        "convolution": convolution / _best(lambda: F.conv3d(volumes, kernel, padding=1)) / 1e9,
    }


def _best(call: Callable[[], Tensor]) -> float:
    seconds: list[float] = []
    with torch.no_grad():
        for _ in range(10):
            _timed(seconds, call)
    return min(seconds)


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
            lambda: attack(
                classifier,
                volumes,
                labels,
                severity=severity,
                ids=ids,
                watched=ids[:WATCHED],
                seed=0,
            ),
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
        began = _now()
        logits: Tensor = self.network(volumes)
        self.seconds += _now() - began
        if logits.requires_grad and volumes.requires_grad:
            # Called when the gradient of each is known: that of the logits comes first. A check
            # may ask for the gradient of something between the two, whose time is not counted.
            logits.register_hook(self._back_begins)
            volumes.register_hook(self._back_ends)
        return logits

    def _back_begins(self, _: Tensor) -> None:
        self._began = _now()

    def _back_ends(self, _: Tensor) -> None:
        self.seconds += _now() - self._began


def _now() -> float:
    _wait()
    return time.perf_counter()


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
