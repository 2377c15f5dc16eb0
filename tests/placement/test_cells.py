"""Whole cells elsewhere: trainings, artefacts, clean, attacked and corrupted volumes, heat maps."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchharness import explanation, training
from benchharness.artefacts import batched
from benchharness.explanation import Request
from benchharness.explanation.gradcam import GradCAM
from benchharness.networks import checkpoints
from benchharness.networks.classifier import Classifier
from benchharness.run import config, forecast, measuring
from benchharness.run.planning import plan
from benchharness.run.subjects import subjects
from benchharness.store.cells import ModelKey
from benchharness.training import loop, recipes
from tests import samples
from tests.artefacts.test_batched import IDS, PAIRS
from tests.artefacts.test_batched import volumes as some
from tests.placement.elsewhere import DEVICE, DOWN, READ, Elsewhere
from tests.placement.worlds import assert_same_bits

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.artefacts import Artefact
    from benchharness.run.measuring import Measured, Networks
    from benchharness.run.planning import Job, Plan

THERE = str(DEVICE)


@pytest.mark.parametrize("grid", [(1, 10, 10, 10), (2, 5, 6, 7)])
@pytest.mark.parametrize("artefact", PAIRS, ids=lambda artefact: artefact.name)
def test_batched_artefacts_give_the_bits_of_the_cpu(
    artefact: Artefact, grid: tuple[int, ...]
) -> None:
    expected = batched.corrupt(artefact, some(*grid), severity=3, ids=IDS, seed=0)
    with Elsewhere() as world:
        given = some(*grid).to(DEVICE)
        world.crossings.clear()
        found = batched.corrupt(artefact, given, severity=3, ids=IDS, seed=0)
    for mine, theirs in zip(found, expected, strict=True):
        assert_same_bits(mine, theirs)
    # The host looks at the whole batch before and after, and no volume comes back.
    assert (world.total(READ), world.total(DOWN)) == (2, 0), world.report()


KINDS = {
    "medmnist": ("medmnist", "unknown"),
    "scaled shapes": ("medmnist", "shape"),
    "medmnist2d": ("medmnist2d", "unknown"),
    **{name: (name, "unknown") for name in recipes.RECIPES if not name.startswith("medmnist")},
}


def test_every_recipe_is_tried() -> None:
    assert {name for name, _ in KINDS.values()} == recipes.RECIPES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_gives_the_bits_of_the_cpu(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    name, modality = KINDS[kind]
    epochs, size = 2, 8
    job = training.Job(
        model=ModelKey(name="tiny", factory="tests.samples:tiny"),
        dataset=dataclasses.replace(samples.dataset(), modality=modality),
        recipe=dataclasses.replace(
            recipes.find(name), epochs=epochs, batch_size=size, starts_from=""
        ),
        seed=0,
        directory=tmp_path / "here",
    )
    loop.train(job, device="cpu")
    moved = dataclasses.replace(job, directory=tmp_path / "there")

    def stop(epoch: training.EpochReport) -> None:
        raise KeyboardInterrupt

    with Elsewhere() as world:
        with pytest.raises(KeyboardInterrupt):
            loop.train(moved, device=THERE, report=stop)
        read = world.total(READ)
        loop.train(moved, device=THERE)  # resumed
    first, second = (
        load_file(tmp_path / place / checkpoints.WEIGHTS) for place in ("here", "there")
    )
    for weight, values in first.items():
        assert torch.equal(values, second[weight])
    if not job.recipe.eps:  # an adversary looks at what it is given and what it gives back
        assert read == math.ceil(len(job.dataset.train) / size), "the loss of a step is read once"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[config.RunConfig, Plan]:
    """Two networks, an attack, a transfer, the controls and both kinds of artefact."""
    folder = tmp_path_factory.mktemp("cells")
    torch.manual_seed(0)
    for name in ("tiny", "wider"):
        torch.save(getattr(samples, name)(2).state_dict(), folder / f"{name}.pth")
    flags = {
        "models": "tests.samples:tiny,tests.samples:wider",
        "datasets": str(samples.write_archive(folder / "data.npz")),
        "checkpoint": [f"{name}={folder / name}.pth" for name in ("tiny", "wider")],
        "attacks": "pgd,transfer",
        "eps": "8/255",
        "artefacts": "bias_field,blur",
        "severities": "3",
        "fast_artefacts": True,
        "limit": 4,
        "device": "cpu",
        "out": folder / "out",
    }
    settings = config.load(None, flags)
    return settings, plan(settings)


def measure_all(job: Job, planned: Plan, device: str) -> tuple[Networks, list[Measured]]:
    setting = measuring.Setting(device=device, batch_size=8)
    networks = measuring.networks_of(job, setting)
    return networks, [
        measuring.measure(
            cell, job, planned.perturbations.get(cell.perturbation.name), networks, setting
        )
        for cell in job.cells
    ]


def test_whole_cells_are_those_of_the_cpu(made: tuple[config.RunConfig, Plan]) -> None:
    _, planned = made
    names = set()
    for job in planned.jobs:
        # The second network brings no other kind of cell, and no other seed does either.
        if job.weights.model.name != "tiny" or (job.source is not None and "transfer" in names):
            continue
        networks, expected = measure_all(job, planned, "cpu")
        with Elsewhere():
            placed, found = measure_all(job, planned, THERE)
        assert placed.outputs == networks.outputs
        for mine, theirs in zip(found, expected, strict=True):
            names.add(theirs.record.cell.perturbation.name)
            assert mine.record.error is theirs.record.error is None
            assert mine.record.metrics == theirs.record.metrics
            assert mine.record.facts == theirs.record.facts
            verdicts = [
                [(c.name, c.verdict, c.value) for c in one.record.certificate]
                for one in (mine, theirs)
            ]
            assert verdicts[0] == verdicts[1]
            assert mine.record.provenance["device"] == THERE
            assert (mine.record.cost is None) == (theirs.record.cost is None)
            assert mine.predictions is not None
            assert theirs.predictions is not None
            assert mine.predictions.to_bytes() == theirs.predictions.to_bytes()
    assert names == {"none", "pgd", "transfer", "probe", "full_range", "bias_field", "blur"}


def test_paces_are_measured_elsewhere(made: tuple[config.RunConfig, Plan]) -> None:
    _, planned = made
    job = planned.jobs[0]
    with Elsewhere():
        pace = forecast.pace(
            job.weights, job, measuring.Setting(device=THERE), iter(range(9)).__next__
        )
    assert isinstance(pace, forecast.Pace), pace


def test_heat_maps_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    network = samples.tiny(2)
    given = torch.rand(3, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    plain = GradCAM(Classifier(copy.deepcopy(network), num_classes=2), "features.4")
    for classes in (np.asarray([0, 1, 1]), None):
        expected = plain(given, classes)
        with Elsewhere():
            classifier = Classifier(copy.deepcopy(network), num_classes=2, device=DEVICE)
            found = GradCAM(classifier, "features.4")(given, classes)
        np.testing.assert_array_equal(found.maps, expected.maps)
        np.testing.assert_array_equal(found.logits, expected.logits)
        assert found.grid == expected.grid


def test_a_whole_explanation_is_that_of_the_cpu(
    made: tuple[config.RunConfig, Plan], tmp_path: Path
) -> None:
    settings, _ = made
    found: list[Any] = []
    for place in ("cpu", THERE):
        (subject,) = subjects(settings)
        one = dataclasses.replace(subject, networks=subject.networks[:1], device=place)
        with Elsewhere():
            (written,) = explanation.explain(Request(worst=1), [one], tmp_path / place[:3])
        found.append(written.found)
    here, there = found
    assert there.networks == here.networks
