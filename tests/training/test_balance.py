"""Training on all classes equally often, against the counts and probabilities it must give."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from benchharness.errors import CellError
from benchharness.networks.classifier import Classifier
from benchharness.training import balance, loop
from tests import samples
from tests.training.test_training import RECIPE, job, same, weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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


def rarer(logits: NDArray[np.float64], shares: tuple[float, ...], count: int) -> Split:
    """A val split whose labels are drawn from probabilities of the logits, times the shares."""
    draws = np.random.Generator(np.random.PCG64(1))
    weighted = softmax(logits + np.log(shares), axis=1)
    labels = np.array([draws.choice(len(shares), p=p) for p in weighted])
    split = samples.dataset().val
    return dataclasses.replace(
        split,
        volumes=np.zeros((count, 1, 4, 4, 4), np.uint8),
        labels=labels,
        ids=tuple(f"val/{place}" for place in range(count)),
    )


@pytest.mark.parametrize("shares", [(0.8, 0.15, 0.05), (1.0, 1.0, 1.0), (0.02, 0.9, 0.08)])
def test_the_bias_becomes_that_of_the_classes_shares(shares: tuple[float, ...]) -> None:
    """Where probabilities are right but for the shares, Bayes' rule says by how much."""
    draws = np.random.Generator(np.random.PCG64(0))
    logits = draws.normal(0, 2, (20_000, 3))
    val = rarer(logits, shares, len(logits))
    found = balance.fitted(logits.astype(np.float32), val.labels)
    expected = np.log(shares)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    assert found == pytest.approx(expected - expected.mean(), abs=0.12)
    mean = softmax(logits + found, axis=1).mean(0)
    assert mean == pytest.approx(np.bincount(val.labels) / len(logits), abs=1e-3)


@pytest.mark.parametrize("labels", [[0] * 9, [0, 1] * 5, [2]])
def test_a_class_that_the_val_split_lacks_keeps_a_finite_bias(labels: list[int]) -> None:
    logits = np.random.Generator(np.random.PCG64(0)).normal(size=(len(labels), 3))
    found = balance.fitted(logits.astype(np.float32), np.asarray(labels))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 5
    lacking = [one for one in range(3) if one not in labels]
    assert max(found[lacking]) < max(found)


def test_restoring_moves_the_last_bias_and_the_logits_by_what_was_fitted() -> None:
    network = head()
    shown = classifier(network, 3)
    draws = np.random.Generator(np.random.PCG64(0))
    val = dataclasses.replace(
        rarer(draws.normal(size=(60, 3)), (0.8, 0.1, 0.1), 60),
        volumes=draws.integers(0, 256, (60, 1, 4, 4, 4), dtype=np.uint8),
    )
    before = shown.predict(val.volumes, 7)
    balance.restore(shown, val, 7, VOLUMES)
    shift = balance.fitted(before, val.labels)
    assert shown.predict(val.volumes, 7) == pytest.approx(before + shift, abs=1e-5)


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
        balance.check(shown, VOLUMES)
    assert "Train with a recipe that is not balanced" in str(caught.value)
    assert same(before, network.state_dict())


def test_a_check_leaves_the_network_as_it_was() -> None:
    network = head()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    balance.check(classifier(network, 3), VOLUMES)
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
    card = loop.train(work, device="cpu")
    classes = work.dataset.num_classes
    assert np.bincount(seen, minlength=classes) / len(seen) == pytest.approx(1 / classes, abs=0.15)
    # Without the last step the same training ends with another bias, and nothing else differs.
    monkeypatch.setattr(loop.balance, "restore", lambda *_: None)
    work = dataclasses.replace(work, directory=tmp_path / "equal")
    plain = loop.train(work, device="cpu")
    kept, equal = weights(tmp_path / "own"), weights(tmp_path / "equal")
    (name,) = (key for key in kept if not torch.equal(kept[key], equal[key]))
    assert name.endswith("bias")
    assert card.val_metrics["nll"] < plain.val_metrics["nll"]
    assert card.val_metrics["auc"] == plain.val_metrics["auc"]


def test_a_network_without_a_bias_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "tiny", lambda num_classes, in_channels: Convolved())
    recipe = dataclasses.replace(RECIPE, balanced=True)
    with pytest.raises(CellError):
        loop.train(job(tmp_path, recipe=recipe), device="cpu")
