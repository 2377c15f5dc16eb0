"""The gradient accounts for the answers: between volumes, beside each, and at every voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchharness.attacks.core import whole_gradient
from benchharness.attacks.core.whole_gradient import BETWEEN, EACH, SILENT
from benchharness.networks.classifier import Classifier
from tests.attacks.maskings import backward
from tests.masking.base import trained
from tests.masking.train import arrays
from tests.masking.truth import network_of
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.store.records import Check

HONEST = ("base", "gelu", "attention", "max_pool", "float16", "bfloat16_attention", "log_softmax")


@pytest.fixture(scope="module")
def volumes() -> Tensor:
    return torch.as_tensor(np.asarray(arrays("test")[0])[:32]).float()


class Built(nn.Module):
    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, volumes: Tensor) -> Tensor:
        return self.answer(volumes)


def checked(answer: Callable[[Tensor], Tensor], volumes: Tensor) -> dict[str, Check]:
    classifier = Classifier(Built(answer), num_classes=4).eval()
    return {check.name: check for check in whole_gradient.checks(classifier, volumes)}


def failed(answer: Callable[[Tensor], Tensor], volumes: Tensor) -> set[str]:
    found = checked(answer, volumes)
    assert set(found) == {BETWEEN, EACH, SILENT}
    assert all(check.reason for check in found.values() if check.verdict != "passed")
    return {name for name, check in found.items() if check.verdict == "failed"}


def base() -> Any:
    return trained("base")


def vote(volumes: Tensor) -> Tensor:
    """Networks vote for a class each; what breaks ties has a gradient, of another network."""
    votes = [trained(name)(volumes).argmax(1) for name in ("base", "gelu", "attention")]
    return sum(F.one_hot(one, 4) for one in votes).float() + 0.02 * trained("robust")(volumes)


def calibrated(volumes: Tensor) -> Tensor:
    """Probabilities are looked up in a table of ten bins."""
    table = torch.linspace(0.02, 0.98, 10).log()
    places = torch.bucketize(base()(volumes).softmax(1).detach(), torch.arange(1, 10) / 10)
    return table[places] + 0.02 * trained("robust")(volumes)


def frozen_half(volumes: Tensor) -> Tensor:
    """Half of the answer is a network's that is only used."""
    with torch.no_grad():
        half = trained("gelu")(volumes)
    return 0.5 * base()(volumes) + 0.5 * half


def third_by_another(volumes: Tensor) -> Tensor:
    """Bright volumes have the gradient of another network."""
    own, other = base()(volumes), trained("robust")(volumes.flip(2))
    bright = (volumes.mean((1, 2, 3, 4)) > 0.455)[:, None]
    return torch.where(bright, own.detach() + other - other.detach(), own)


def largest_quarter(volumes: Tensor) -> Tensor:
    """The backward pass leaves out what is small."""

    def kept(gradient: Tensor) -> Tensor:
        sizes = gradient.abs()
        least = sizes.flatten(1).quantile(0.75, dim=1).view(-1, 1, 1, 1, 1)
        return torch.where(sizes >= least, gradient, 0.0)

    return base()(backward(kept)(volumes))


def unheard_border(volumes: Tensor) -> Tensor:
    """Slices at one end are cut off the gradient."""
    cut = torch.arange(12) < 7
    return base()(torch.where(cut[:, None, None], volumes.detach(), volumes))


class Remembering:
    """Some features of a volume that resembles an earlier one are those of the earlier one."""

    def __init__(self) -> None:
        self.known: list[tuple[Tensor, Tensor]] = []

    def __call__(self, volumes: Tensor) -> Tensor:
        found = []
        for volume, features in zip(volumes, base().maps(volumes), strict=True):
            thumb = F.adaptive_avg_pool3d(volume, 3).detach().flatten()
            own = next((f for t, f in self.known if (t - thumb).abs().amax() < 0.03), None)
            if own is None:
                self.known.append((thumb, features.detach().clone()))
                found.append(features)
            else:
                found.append(torch.cat([own[:8], features[8:]]))
        return base().head(torch.stack(found).flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", HONEST)
def test_honest_networks_pass_all(name: str, volumes: Tensor) -> None:
    assert failed(network_of(ZOO[name]), volumes) == set()


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (vote, {BETWEEN}),
        (calibrated, {BETWEEN}),
        (frozen_half, {BETWEEN, EACH}),
        (third_by_another, {EACH}),
        (largest_quarter, {SILENT}),
        (unheard_border, {BETWEEN, SILENT}),
        (Remembering(), {BETWEEN}),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_each_kind_fails_where_it_is_looked_for(
    answer: Callable[[Tensor], Tensor], wanted: set[str], volumes: Tensor
) -> None:
    assert wanted <= failed(answer, volumes)


def test_a_sharp_turn_is_looked_at_more_closely(
    volumes: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen points miss what a network does within a hundredth of a way."""

    def sharp(x: Tensor) -> Tensor:
        logits = base()(x)
        return logits + 3 * torch.tanh(20 * logits)

    monkeypatch.setattr(whole_gradient, "POINTS", (16,))
    assert failed(sharp, volumes) == {BETWEEN}
    monkeypatch.undo()
    assert failed(sharp, volumes) == set()


def test_what_cannot_be_told_is_not_applicable(volumes: Tensor) -> None:
    def constant(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4] * 0 + torch.tensor([1.0, 0, 0, 0])

    def refusing(x: Tensor) -> Tensor:
        raise ValueError("no volumes today")

    for answer, reason in ((constant, "one class"), (refusing, "no volumes today")):
        found = checked(answer, volumes)
        assert {check.verdict for check in found.values()} == {"not applicable"}
        assert reason in found[BETWEEN].reason


def test_a_network_that_draws_is_one_function_here(volumes: Tensor) -> None:
    def noisy(x: Tensor) -> Tensor:
        return base()(x + 0.02 * torch.randn_like(x))

    assert failed(noisy, volumes) == set()


def test_looking_changes_no_state_and_no_generator(volumes: Tensor) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("passes", torch.zeros(1))
            self.inner = base()

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            return self.inner(x)  # type: ignore[no-any-return]

    classifier = Classifier(Counting(), num_classes=4).eval()
    before, drawn = volumes.clone(), torch.get_rng_state()
    whole_gradient.checks(classifier, volumes)
    assert classifier.network.passes == 0
    assert torch.equal(before, volumes)
    assert torch.equal(drawn, torch.get_rng_state())
    assert not any(p.requires_grad for p in classifier.parameters())
