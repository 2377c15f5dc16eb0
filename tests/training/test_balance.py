"""Training on all classes equally often, against the counts and probabilities it must give."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from benchharness.errors import CellError
from benchharness.networks.classifier import Classifier
from benchharness.training import balance, loop
from tests import samples
from tests.training.test_training import RECIPE, job, same, weights

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets.base import Split

VOLUMES = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))


def test_all_classes_that_have_volumes_are_drawn_equally_often() -> None:
    labels = np.repeat([0, 2, 3], [900, 90, 10])
    found = balance.drawn(labels, np.random.Generator(np.random.PCG64(0)))
    counts = np.bincount(labels[found])
    assert len(found) == len(labels)
    assert counts[1] == 0
    assert counts[[0, 2, 3]] == pytest.approx([333, 333, 333], abs=60)
    assert len(set(found[labels[found] == 0].tolist())) > 200  # volumes of a class differ


def classifier(network: nn.Module, classes: int) -> Classifier:
    return Classifier(network, num_classes=classes)


def head(*, bias: bool = True, classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes, bias=bias))


@pytest.mark.parametrize("counts", [(80, 15, 5), (1, 1, 1), (10, 0, 5)])
def test_probabilities_are_weighted_by_how_often_classes_come(counts: tuple[int, ...]) -> None:
    """Bayes: posteriors under equal priors, times the priors, made to add up to one."""
    shown = classifier(head(), 3)
    with torch.no_grad():
        equal = shown.eval()(VOLUMES).softmax(1)
    balance.restore(shown, np.repeat(np.arange(3), counts), VOLUMES)
    priors = torch.tensor([max(count, 1) for count in counts]).float()
    expected = equal * priors
    with torch.no_grad():
        found = shown.eval()(VOLUMES).softmax(1)
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))


class Scaled(nn.Module):
    """Divides what its last layer gives by a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = head()

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(volumes) / 2
        return found


class Convolved(nn.Module):
    """Has no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv3d(1, 3, 4)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(volumes).flatten(1)
        return found


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (head(bias=False), "the last layer has no bias"),
        (Scaled(), "does not move the logits by as much"),
        (Convolved(), "no nn.Linear on"),
    ],
)
def test_networks_that_cannot_take_it_are_refused_before_training(
    network: nn.Module, said: str
) -> None:
    shown = classifier(network, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CellError, match=said) as caught:
        balance.check(shown, np.repeat([0, 1, 2], [8, 1, 1]), VOLUMES)
    assert "Train with a recipe that is not balanced" in str(caught.value)
    assert same(before, network.state_dict())


def test_a_check_leaves_the_network_as_it_was() -> None:
    network = head()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    balance.check(classifier(network, 3), np.repeat([0, 1, 2], [8, 1, 1]), VOLUMES)
    assert same(before, network.state_dict())


def rare() -> Split:
    """The training volumes with two of class 1."""
    split = samples.dataset().train
    kept = np.setdiff1d(np.arange(len(split)), np.flatnonzero(split.labels == 1)[2:])
    return dataclasses.replace(
        split,
        volumes=split.volumes[kept],
        labels=split.labels[kept],
        ids=tuple(split.ids[place] for place in kept),
    )


def test_a_training_draws_rare_classes_often_and_expects_them_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def objective(*given: object, **options: object) -> torch.Tensor:
        targets = given[3]
        assert isinstance(targets, torch.Tensor)
        seen.extend(targets.tolist())
        return loss(*given, **options)

    loss = loop.objective.loss
    monkeypatch.setattr(loop.objective, "loss", objective)
    recipe = dataclasses.replace(RECIPE, balanced=True, keep="last", epochs=6, averaging=0.9)
    work = job(tmp_path / "own", recipe=recipe, train=rare())
    labels = work.dataset.train.labels
    loop.train(work, device="cpu")
    classes = work.dataset.num_classes
    assert np.bincount(seen, minlength=classes) / len(seen) == pytest.approx(1 / classes, abs=0.15)
    # Without the last step the same training ends with another bias, and nothing else differs.
    monkeypatch.setattr(loop.balance, "restore", lambda *_: None)
    loop.train(dataclasses.replace(work, directory=tmp_path / "equal"), device="cpu")
    kept, equal = weights(tmp_path / "own"), weights(tmp_path / "equal")
    (name,) = (key for key in kept if not torch.equal(kept[key], equal[key]))
    counts = np.bincount(labels, minlength=classes)
    moved = (kept[name] - equal[name]).numpy()
    assert moved == pytest.approx(np.log(counts / counts.mean()), abs=1e-5)


def test_a_network_without_a_bias_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "tiny", lambda num_classes, in_channels: Convolved())
    recipe = dataclasses.replace(RECIPE, balanced=True)
    with pytest.raises(CellError):
        loop.train(job(tmp_path, recipe=recipe), device="cpu")
