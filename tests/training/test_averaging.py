"""The moving average of weights, against its formula and through a whole training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from benchharness.training import loop, recipes
from benchharness.training.averaging import average
from tests.training.test_training import RECIPE, job, same, weights

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.training.job import EpochReport

    State = dict[str, torch.Tensor]


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_the_average_is_that_of_its_formula(decay: float) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.BatchNorm1d(1))
    linear, norm = network
    found, expected = average(network, decay), [None, None]
    for step in range(30):
        with torch.no_grad():
            linear.weight.fill_(step % 7)
            norm.running_mean.fill_(step % 5)
            norm.num_batches_tracked.fill_(step)
        found.update_parameters(network)
        kept = min(decay, (1 + step) / (10 + step))
        new = (step % 7, step % 5)
        expected = [
            float(now) if mean is None else kept * mean + (1 - kept) * now
            for mean, now in zip(expected, new, strict=True)
        ]
    mean_linear, mean_norm = found.module
    torch.testing.assert_close(
        torch.stack([mean_linear.weight[0, 0], mean_norm.running_mean[0]]).detach(),
        torch.tensor(expected),
    )
    assert int(mean_norm.num_batches_tracked) == 29  # a count is not averaged
    assert float(linear.weight.detach()[0, 0]) == 29 % 7  # what is averaged stays as it is


def averaged(tmp_path: Path, name: str, **changes: object) -> State:
    recipe = dataclasses.replace(RECIPE, **{"averaging": 0.9, "keep": "last", **changes})
    loop.train(job(tmp_path / name, recipe=recipe), device="cpu")
    return weights(tmp_path / name)


def test_what_is_kept_is_the_average_over_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps themselves are those of the recipe without it."""
    passed: list[State] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *given: object) -> object:
        found = step(self, *given)
        passed.append({"first": self.param_groups[0]["params"][0].detach().clone()})
        return found

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    plain = averaged(tmp_path, "plain", averaging=0.0)
    without, passed = passed, []
    kept = averaged(tmp_path, "kept")
    assert len(without) == len(passed) > 10
    assert all(same(one, other) for one, other in zip(without, passed, strict=True))
    (name,) = (k for k, v in plain.items() if torch.equal(v, without[-1]["first"]))
    mean = passed[0]["first"]
    for count, one in enumerate(passed[1:], start=1):
        share = min(0.9, (1 + count) / (10 + count))
        mean = share * mean + (1 - share) * one["first"]
    torch.testing.assert_close(kept[name], mean)
    assert not torch.equal(kept[name], plain[name])


def test_the_average_is_what_val_volumes_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def report(epoch: EpochReport) -> None:
        assert epoch.val_auc is not None
        seen.append(epoch.val_auc)

    recipe = dataclasses.replace(RECIPE, averaging=0.99)
    card = loop.train(job(tmp_path / "own", recipe=recipe), device="cpu", report=report)
    assert card.val_metrics["auc"] == max(seen)
    assert card.recipe["averaging"] == 0.99


def test_the_last_epoch_is_measured_on_val_volumes_and_not_chosen_by_them(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, averaging=0.9, keep="last")
    seen: list[float | None] = []
    work = job(tmp_path / "own", recipe=recipe)
    card = loop.train(work, device="cpu", report=lambda epoch: seen.append(epoch.val_auc))
    assert seen == [None] * recipe.epochs
    assert (card.selection_split, card.selection_epoch) == ("none", recipe.epochs)
    assert card.val_metrics.keys() == card.test_metrics.keys() != set()


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_killed_training_goes_on_to_the_same_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    whole = averaged(tmp_path, "whole", keep=keep)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)

    def kill(epoch: EpochReport) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    recipe = dataclasses.replace(RECIPE, averaging=0.9, keep=keep)
    with pytest.raises(KeyboardInterrupt):
        loop.train(job(tmp_path / "killed", recipe=recipe), device="cpu", report=kill)
    loop.train(job(tmp_path / "killed", recipe=recipe), device="cpu")
    assert same(weights(tmp_path / "killed"), whole)


def test_a_recipe_without_averaging_keeps_its_identity() -> None:
    assert "averaging" not in dict(recipes.find("quick").to_pairs())
    varied = dataclasses.replace(recipes.find("quick"), averaging=0.9)
    assert dict(varied.to_pairs())["averaging"] == 0.9
