"""Volumes are made in one place: what `bench explain` maps is what `bench run` measured."""

from __future__ import annotations

import copy
import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness import explanation
from benchharness.artefacts import corruption
from benchharness.attacks import FGSM
from benchharness.explanation import figures
from benchharness.explanation.gradcam import GradCAM
from benchharness.networks.classifier import Classifier
from benchharness.run import config, evaluation, perturb, runner
from benchharness.run.planning import plan
from benchharness.run.progress import Display
from benchharness.run.subjects import subjects
from benchharness.store.cells import CONTROL_FAMILY, condition
from benchharness.store.folder import Store
from tests import samples
from tests.own_data import write_folder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

ARTEFACTS = "affine,motion,bias_field,blur,elastic,anisotropy"
FACTORIES = {name: f"tests.run.test_perturb:{name}" for name in ("watched", "other")}

_SEEN: list[Tensor] = []
"""What the networks below were given in evaluation, batch by batch."""


class _Watched(samples._Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if not self.training:
            _SEEN.append(volumes.detach().clone())
        logits: Tensor = super().forward(volumes)
        return logits

    def folded(self) -> nn.Module:
        """What is evaluated; far enough from the network itself that attacks tell them apart."""
        found = copy.deepcopy(self).eval().requires_grad_(requires_grad=False)
        found.features[0].weight *= torch.linspace(-1, 1, 27).reshape(3, 3, 3)
        return found


def watched(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _Watched(num_classes, in_channels, 6)


def other(num_classes: int, in_channels: int = 1) -> nn.Module:
    return _Watched(num_classes, in_channels, 8)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Own volumes with voxels of 3 × 1 × 1 mm."""
    folder = write_folder(
        tmp_path_factory.mktemp("data") / "own", {"train": 1, "val": 1, "test": 3}
    )
    return {"datasets": str(folder), "size": 12, "spacing": "3,1,1"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Volumes without spacing, on which batched artefacts run."""
    path = samples.write_archive(tmp_path_factory.mktemp("data") / "data.npz")
    return {"datasets": str(path), "limit": 6}


def load(folder: Path, *models: str, **flags: Any) -> config.RunConfig:
    """A config of networks with weights of no training."""
    for number, name in enumerate(models):
        torch.manual_seed(number)
        network = globals()[name](2)
        torch.save(network.state_dict(), folder / f"{name}.pth")
    settings = {
        "models": ",".join(FACTORIES[name] for name in models),
        "checkpoint": [f"{name}={folder / name}.pth" for name in models],
        "out": folder / "out",
        "device": "cpu",
        "severities": "3",
        "eps": "16/255",
    }
    return config.load(None, settings | flags)


def judged(settings: config.RunConfig, monkeypatch: pytest.MonkeyPatch) -> dict[Any, Tensor]:
    """By network and condition, the last volumes that `bench run` gave to the network."""
    found: dict[Any, Tensor] = {}
    evaluate = evaluation.evaluate

    def watch(cell: Any, *arguments: Any, **more: Any) -> Any:
        _SEEN.clear()
        result = evaluate(cell, *arguments, **more)
        if cell.perturbation.family != CONTROL_FAMILY:
            # After the test volumes a clean cell sees those of val; attacks look at theirs last.
            seen = _SEEN[0] if cell.perturbation.kind == "none" else _SEEN[-1]
            found[cell.model.name, condition(cell.perturbation)] = seen
        return result

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", watch)
        # Finite differences pass volumes of their own after the attack's.
        patch.setattr(evaluation, "chosen", lambda _: frozenset())
        assert runner.run(settings, Display(Console(file=io.StringIO()))).failures == ()
    return found


def mapped(
    settings: config.RunConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[Any, Tensor], dict[Any, Tensor]]:
    """The same of `bench explain`: what it measured, and what it drew, worst first."""
    calls: dict[int, list[Tensor]] = {}
    call = GradCAM.__call__

    def watch(self: GradCAM, volumes: Tensor, *arguments: Any) -> Any:
        calls.setdefault(id(self), []).append(volumes.clone())
        return call(self, volumes, *arguments)

    subject = subjects(settings)
    with monkeypatch.context() as patch:
        patch.setattr(GradCAM, "__call__", watch)
        # Kept: an id must not be given twice.
        kept = []
        drawn = GradCAM.__init__

        def keep(self: GradCAM, *arguments: Any) -> None:
            kept.append(self)
            drawn(self, *arguments)

        patch.setattr(GradCAM, "__init__", keep)
        patch.setattr(figures, "draw", lambda *_: b"")
        request = explanation.Request.checked(worst=6)
        explanation.explain(request, subject, settings.out)
    measured: dict[Any, Tensor] = {}
    pictured: dict[Any, Tensor] = {}
    (one,) = subject
    for network, cam in zip(one.networks, kept, strict=False):
        labels = [each.label for each in network.conditions]
        _, *volumes = calls[id(cam)]  # The first is a look at whether the layer has a grid.
        assert len(volumes) == 2 * len(labels)
        for label, first, again in zip(
            labels, volumes[: len(labels)], volumes[len(labels) :], strict=True
        ):
            measured[network.name, label] = first
            pictured[network.name, label] = again
    return measured, pictured


def same_volumes(first: Tensor, second: Tensor) -> bool:
    """Whether two batches hold the same volumes in any order, bit for bit."""
    return sorted(v.numpy().tobytes() for v in first) == sorted(v.numpy().tobytes() for v in second)


@pytest.mark.parametrize("fast", [False, True])
def test_explain_maps_the_volumes_that_run_measured(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    flags = own | {"artefacts": ARTEFACTS, "attacks": "fgsm,pgd,noise_sign", "fast_artefacts": fast}
    settings = load(tmp_path, "watched", **flags)
    (job, _) = plan(settings).jobs
    assert job.split.spacing == (3, 1, 1)
    measured = judged(settings, monkeypatch)
    found, drawn = mapped(settings, monkeypatch)
    assert list(found) == list(measured)
    assert len(found) == 1 + 3 + 6
    clean = found["watched", "clean"]
    for place, volumes in measured.items():
        assert torch.equal(found[place], volumes), place
        assert place[1] == "clean" or not torch.equal(volumes, clean), place
        if "level" in place[1] or place[1] == "clean":
            assert same_volumes(drawn[place], volumes), place


def test_explain_maps_the_output_of_batched_artefacts(
    archive: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = archive | {"artefacts": "motion,bias_field,ghosting,spike", "fast_artefacts": True}
    measured = judged(load(tmp_path, "watched", **flags), monkeypatch)
    found, drawn = mapped(load(tmp_path, "watched", **flags), monkeypatch)
    plain, _ = mapped(load(tmp_path, "watched", **flags | {"fast_artefacts": False}), monkeypatch)
    assert len(found) == 1 + 4
    for place, volumes in measured.items():
        assert torch.equal(found[place], volumes), place
        assert same_volumes(drawn[place], volumes), place
    assert not torch.equal(plain["watched", "motion level 3"], found["watched", "motion level 3"])


def test_explain_maps_transferred_volumes(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path, "watched", "other", **own, attacks="transfer,fgsm")
    measured = judged(settings, monkeypatch)
    found, _ = mapped(settings, monkeypatch)
    assert found.keys() == measured.keys()
    assert ("watched", "transfer 16/255 from other") in found
    for place, volumes in measured.items():
        assert torch.equal(found[place], volumes), place
    own_volumes, others = (
        found["watched", f"transfer 16/255 from {name}"] for name in ("watched", "other")
    )
    assert not torch.equal(own_volumes, others)


def test_batches_of_explain_are_those_of_run(
    archive: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In equal batches the answers to what is mapped are the recorded ones, bit for bit."""
    flags = archive | {"artefacts": "motion", "attacks": "fgsm", "batch_size": 4}
    settings = load(tmp_path, "watched", **flags)
    judged(settings, monkeypatch)
    store = Store(settings.out)
    (subject,) = subjects(settings)
    (network,) = subject.networks
    evaluated = network.load().for_evaluation()
    recorded = {
        condition(record.cell.perturbation): store.predictions(record).logits
        for record in store.records().values()
    }
    for one in network.conditions:
        volumes = one.volumes(evaluated, subject.split)
        batches = [volumes(place) for place in (slice(0, 4), slice(4, 6))]
        with evaluated.frozen(), torch.no_grad():
            answers = [evaluated(batch) for batch in batches]
        assert np.array_equal(torch.cat(answers).numpy(), recorded[one.label]), one.label


def test_a_corrupted_set_is_made_once_for_run_and_explain(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    settings = load(tmp_path, "watched", "other", **own, artefacts="affine")
    made = []

    def counted(*arguments: Any, **more: Any) -> Any:
        made.append(arguments[0].name)
        return corruption.corrupt(*arguments, **more)

    monkeypatch.setattr(perturb, "corrupt", counted)
    judged(settings, monkeypatch)
    mapped(settings, monkeypatch)
    assert made == ["affine"]
    assert len([*cache.glob("corrupted/*.npz")]) == 1


def test_some_volumes_are_those_of_the_whole(own: dict[str, Any], tmp_path: Path) -> None:
    settings = load(tmp_path, "watched", **own, artefacts="elastic", limit=4)
    planned = plan(settings)
    (job,) = planned.jobs
    cell = job.cells[1]
    classifier = Classifier(watched(2), num_classes=2)
    artefact = planned.perturbations["elastic"]
    everything = perturb.perturb(cell, job.dataset.test, artefact, classifier)(slice(None))
    part = job.split.select(np.asarray([3, 0]))
    for split in (part, job.dataset.test.select(np.asarray([5, 0]))):
        some = perturb.perturb(cell, split, artefact, classifier, whole=job.split)
        assert some.corrupted is not None
        assert len(some.corrupted.changed) == len(some.corrupted.clipped) == 2
        places = [job.dataset.test.ids.index(name) for name in split.ids]
        assert torch.equal(some(slice(None)), everything[places])


def test_networks_that_meet_other_sources_are_explained_without_transfers(
    archive: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path, "watched", "other", **archive, attacks="transfer,fgsm")
    planned = plan(settings)
    *jobs, last = planned.jobs
    monkeypatch.setattr(
        "benchharness.run.subjects.plan",
        lambda _: dataclasses.replace(planned, jobs=(*jobs, last, last)),
    )
    said: list[str] = []
    (subject,) = subjects(settings, said.append)
    assert [one.label for one in subject.conditions] == ["clean", "fgsm 16/255"]
    assert said == [
        "other: other.pth: read 11 tensors.",
        "watched: watched.pth: read 11 tensors.",
        "transfers left out on data: networks do not meet the same sources. Name one training "
        "seed.",
    ]


def test_an_attack_asks_the_network_that_is_evaluated(
    archive: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path, "watched", **archive, attacks="fgsm")
    (subject,) = subjects(settings)
    (network,) = subject.networks
    plain = network.load()
    asked = []
    perturbed = FGSM.perturb

    def watch(self: FGSM, batch: Any) -> Tensor:
        asked.append(batch)
        return perturbed(self, batch)

    monkeypatch.setattr(FGSM, "perturb", watch)
    first, second = (
        network.conditions[1].volumes(one, subject.split)(slice(None))
        for one in (plain, plain.for_evaluation())
    )
    assert not torch.equal(first, second)
    assert torch.equal(second, mapped(settings, monkeypatch)[0]["watched", "fgsm 16/255"])
    assert len(asked) == 4
