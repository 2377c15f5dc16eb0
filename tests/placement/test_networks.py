"""Networks elsewhere: answers, gradients, checks, costs and what stands around them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchharness import registry
from benchharness.networks import acceleration, behaviour, building, costs, fitting, outputs
from benchharness.networks.adapters import Outputs
from benchharness.networks.asked import NOTHING, Asked
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from benchharness.store.cells import ModelKey
from medvit3d.layers import PatchMomentumChanger
from tests import samples
from tests.placement.elsewhere import DEVICE, DOWN, Elsewhere
from tests.placement.worlds import assert_same_bits, moved, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUILT_IN = sorted(registry.BUILT_IN["models"])
LARGE = set(BUILT_IN) - {"medvit3d_n", "medvit3d_cbam", "resnet3d_18"}
"""Larger ones, and MONAI's."""
MODELS = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in BUILT_IN]


def volumes(count: int = 3, size: int = 12) -> NDArray[np.uint8]:
    draws = np.random.Generator(np.random.PCG64(0))
    return draws.integers(0, 256, (count, 1, size, size, size), dtype=np.uint8)


def network(name: str) -> nn.Module:
    key = ModelKey(name=name, factory=registry.BUILT_IN["models"][name])
    return building.build_network(key, num_classes=3, in_channels=1, seed=0)


def gradient(classifier: Classifier, given: Tensor) -> Tensor:
    with classifier.frozen():
        point = given.clone().requires_grad_()
        (found,) = torch.autograd.grad(classifier(point)[:, 0].sum(), point)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_network_answers_and_learns_elsewhere(name: str) -> None:
    """Kernels made for a CPU stay there, so that bits may differ, but little."""
    built = network(name)
    on_cpu = Classifier(copy.deepcopy(built), num_classes=3).for_evaluation()
    expected = on_cpu.predict(volumes(), 2)
    given = torch.from_numpy(volumes()) / 255
    slope = gradient(on_cpu, given)
    with Elsewhere() as world:
        placed = Classifier(built, num_classes=3, device=DEVICE)
        fast = placed.for_evaluation()
        world.crossings.clear()
        found = fast.predict(volumes(), 2)
        assert world.total(DOWN) == 2  # once a batch
        own = values(gradient(fast, given.to(DEVICE)))
        placed.train()
        torch.manual_seed(0)
        placed.training_logits(given.to(DEVICE)).square().sum().backward()
        assert {p.grad.device for p in placed.parameters() if p.grad is not None} == {DEVICE}
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)
    # Where rounding takes a value across the kink of a ReLU, a slope is another one.
    apart = np.linalg.norm(own - slope.numpy()) / np.linalg.norm(slope.numpy())
    assert apart < 0.03


def test_the_kernels_for_a_cpu_do_not_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the answers have the bits of a CPU; this compares the rest."""
    monkeypatch.setattr(acceleration, "_arrange_convolutions", lambda _: None)
    built = network("resnet3d_18")
    expected = Classifier(copy.deepcopy(built), num_classes=3).for_evaluation()
    with Elsewhere():
        found = Classifier(built, num_classes=3, device=DEVICE).for_evaluation()
        assert not any(isinstance(m, acceleration.SubPixelConv3d) for m in found.modules())
        logits = found.predict(volumes(), 2)
    np.testing.assert_array_equal(logits, expected.predict(volumes(), 2))


def test_accelerated_blocks_work_wherever_they_are_put() -> None:
    """They are made on a CPU alone, but no line in them names it."""
    conv = nn.Conv3d(1, 4, 3, stride=2, padding=1).requires_grad_(requires_grad=False)
    made = acceleration.SubPixelConv3d(conv)
    given = torch.from_numpy(volumes(2)) / 255
    expected = gradient(Classifier(nn.Sequential(made, Mean()), num_classes=4), given)
    with Elsewhere():
        placed = Classifier(
            nn.Sequential(copy.deepcopy(made), Mean()), num_classes=4, device=DEVICE
        )
        assert_same_bits(gradient(placed, given.to(DEVICE)), expected)
    frozen = network("medvit3d_n").eval().folded()  # type: ignore[operator]
    answers = frozen(given)
    with Elsewhere():
        again = copy.deepcopy(frozen).to(DEVICE)(given.to(DEVICE))
    np.testing.assert_allclose(values(again), answers.detach().numpy(), rtol=1e-3, atol=1e-4)


class Mean(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3, 4))


def test_statistics_are_exchanged_elsewhere() -> None:
    features = torch.rand(4, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    expected = PatchMomentumChanger()(features)
    with Elsewhere():
        torch.manual_seed(0)
        assert_same_bits(PatchMomentumChanger()(features.to(DEVICE)), expected)


CHAINS: dict[str, dict[str, Any]] = {
    "size": {"size": (8, 9, 10)},
    "area": {"size": (6, 6, 6), "resize": "area"},
    "clip and percentiles": {"clip": (0.1, 0.9), "percentiles": (1.0, 99.0)},
    "minmax of the volume": {"minmax": True, "per": "volume"},
    "zscore": {"zscore": "all"},
    "zscore of what is not zero": {"zscore": "nonzero", "scale": 0.5},
    "a number for every channel": {
        "repeat_channels": 3,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
    },
    "one number": {"mean": 0.5, "std": 0.25},
    "a function": {"callable": f"{__name__}:centred"},
}


def centred(given: Tensor) -> Tensor:
    return given - given.mean((2, 3, 4), keepdim=True)


@pytest.mark.parametrize("name", CHAINS)
def test_preprocessing_gives_the_bits_of_the_cpu(name: str) -> None:
    chain = Preprocessing(**CHAINS[name])
    given = torch.from_numpy(volumes()) / 255
    with Elsewhere() as world:
        placed = given.to(DEVICE)
        chain(placed)
        world.crossings.clear()
        found = chain(placed)
    assert_same_bits(found, chain(given))
    assert not world.crossings, "every pass of an attack goes through this"


class Returns(nn.Module):
    """Returns its logits in one of several forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.inner = samples.tiny(2)
        self.form = form

    def forward(self, given: Tensor) -> object:
        logits = self.inner(given)
        return {
            "tuple": (logits, given),
            "dict": {"features": given, "logits": logits},
            "one": logits[:, :1],
            "grid": logits[:, :, None, None, None],
            "probabilities": logits.softmax(1),
        }[self.form]


@pytest.mark.parametrize("form", ["tuple", "dict", "one", "grid", "probabilities"])
def test_outputs_are_fitted_checked_and_taken_elsewhere(form: str) -> None:
    torch.manual_seed(0)
    asked = NOTHING if form != "probabilities" else Asked(form="probabilities")
    plain = Classifier(Returns(form), num_classes=2)
    split = volumes(14)
    expected, note = fitting.fit(plain, split, asked, name="net")
    plain.outputs = expected
    with Elsewhere():
        placed = moved(Classifier(plain.network, num_classes=2))
        found, said = fitting.fit(placed, split, asked, name="net")
        placed.outputs = found
        assert (found, said) == (expected, note)
        assert fitting.checks(placed, split) == fitting.checks(plain, split)
        assert outputs.checks(placed, split) == outputs.checks(plain, split)
        answers = placed.predict(split, 5)
    np.testing.assert_array_equal(answers, plain.predict(split, 5))
    assert isinstance(expected, Outputs)


class Noisy(nn.Module):
    """Draws in evaluation, as a randomised defence does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = samples.tiny(2)

    def forward(self, given: Tensor) -> Tensor:
        logits: Tensor = self.inner(given + 0.5 * torch.randn_like(given))
        return logits * 50


@pytest.mark.parametrize("factory", [lambda: samples.tiny(2), Noisy])
def test_behaviour_is_watched_elsewhere(factory: Any) -> None:
    torch.manual_seed(0)
    plain = Classifier(factory(), num_classes=2)
    expected = behaviour.checks(plain, volumes(9))
    with Elsewhere():
        found = behaviour.checks(moved(plain), volumes(9))
    assert [(c.name, c.verdict, c.value) for c in found] == [
        (c.name, c.verdict, c.value) for c in expected
    ]


def test_costs_elsewhere_are_those_of_the_cpu() -> None:
    plain = Classifier(samples.tiny(2), num_classes=2)
    expected = costs.measure(plain, (1, 12, 12, 12), repeats=1)
    with Elsewhere():
        found = costs.measure(moved(plain), (1, 12, 12, 12), repeats=1)
    assert found.latency_ms > 0
    for name in ("parameters", "flops", "peak_memory_mib", "latency_batch"):
        assert getattr(found, name) == getattr(expected, name)
