"""What goes to nodes and what comes back, without a cluster."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness import training
from benchharness.disk import file_sha256
from benchharness.errors import CellError
from benchharness.networks import checkpoints
from benchharness.run import config
from benchharness.run.engines import shipping, supply
from benchharness.run.engines.remote import Answer, Performer, Sent, _Far
from benchharness.run.engines.supply import Supply, keep
from benchharness.run.engines.tasks import Measure, Said, Train, Trained
from benchharness.run.planning import plan
from benchharness.store.cards import CARD, WEIGHTS
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.planning import Job


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job whose checkpoint is yet to be trained."""
    quick = dataclasses.replace(recipes.find("quick"), epochs=1, batch_size=24)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)
    flags = {
        "models": "tests.samples:tiny",
        "datasets": str(samples.write_archive(tmp_path / "data.npz")),
        "recipes": "quick",
        "device": "cpu",
        "limit": 6,
        "out": tmp_path / "out",
    }
    return plan(config.load(None, flags)).jobs[0]


class Store:
    """An object store in this process."""

    def __init__(self) -> None:
        self.kept: list[shipping.Parcel] = []

    def put(self, parcel: shipping.Parcel) -> int:
        self.kept.append(parcel)
        return len(self.kept) - 1


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_Far, Store]:
    """A worker that has what comes to it."""
    store = Store()
    monkeypatch.setattr(Sent, "fetch", lambda sent: store.kept[sent.reference])
    return _Far("cpu", tmp_path / "node"), store


def test_a_checkpoint_that_a_node_trained_is_kept_as_if_trained_here(
    job: Job, node: tuple[_Far, Store], tmp_path: Path
) -> None:
    far, store = node
    task = Train(weights=job.weights, data=job.data)
    far.receive(Supply({job.data: job.dataset}, store.put).needs(task))
    result = far.perform(task, lambda _: None)
    assert isinstance(result, Trained)
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "node").iterdir())
    assert far.checkpoint is not None
    folder = job.weights.path.parent
    keep(*far.checkpoint, folder)
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CARD}
    here = training.train(
        training.Job(
            model=job.weights.model,
            dataset=job.dataset,
            recipe=job.weights.recipe,  # type: ignore[arg-type]
            seed=0,
            directory=tmp_path / "here" / folder.parent.name / folder.name,
        ),
        device="cpu",
    )
    card = checkpoints.read_card(folder)
    assert card is not None
    assert card.sha256 == result.sha256 == here.sha256
    assert card.test_metrics == here.test_metrics


def test_a_training_starts_on_a_node_from_what_another_recipe_trained(
    job: Job, node: tuple[_Far, Store], tmp_path: Path
) -> None:
    """Nothing of the driver's is opened: its checkpoint travels, and its card is held to it."""
    far, store = node
    supply = Supply({job.data: job.dataset}, store.put)
    task = Train(weights=job.weights, data=job.data)
    far.receive(supply.needs(task))
    far.perform(task, lambda _: None)
    assert far.checkpoint is not None
    first = job.weights.path.parent
    keep(*far.checkpoint, first)
    assert job.weights.recipe is not None
    recipe = dataclasses.replace(job.weights.recipe, name="on", starts_from="quick")
    place = first.with_name("on") / job.weights.path.name
    second = dataclasses.replace(job.weights, recipe=recipe, path=place, start=job.weights)
    task = Train(weights=second, data=job.data)
    far.receive(supply.needs(task))
    away = first.rename(tmp_path / "away")
    far.perform(task, lambda _: None)
    away.rename(first)
    assert far.checkpoint is not None
    there = shipping.unpacked(*far.checkpoint)
    here = training.train(
        training.Job(
            model=second.model,
            dataset=job.dataset,
            recipe=recipe,
            seed=0,
            directory=tmp_path / "here" / place.parent.parent.name / place.parent.name,
            start=first,
        ),
        device="cpu",
    )
    card = checkpoints.cards.ModelCard.from_json(there[CARD].tobytes().decode())
    assert card.sha256 == here.sha256
    assert card.start == here.start
    assert card.start


def spoilt(files: dict[str, Any], how: str, other: bytes) -> dict[str, Any]:
    if how == "no card":
        return {WEIGHTS: files[WEIGHTS]}
    if how == "other weights":
        return files | {WEIGHTS: files[WEIGHTS][::-1].copy()}
    if how == "no JSON":
        return files | {CARD: np.frombuffer(b"{", np.uint8)}
    return files | {CARD: np.frombuffer(other, np.uint8)}


@pytest.mark.parametrize("how", ["no card", "other weights", "no JSON", "another seed"])
def test_what_is_no_checkpoint_of_this_training_is_not_written(
    how: str, job: Job, node: tuple[_Far, Store], tmp_path: Path
) -> None:
    far, store = node
    task = Train(weights=job.weights, data=job.data)
    far.receive(Supply({job.data: job.dataset}, store.put).needs(task))
    far.perform(task, lambda _: None)
    assert far.checkpoint is not None
    files = shipping.unpacked(*far.checkpoint)
    card = checkpoints.cards.ModelCard.from_json(files[CARD].tobytes().decode())
    other = dataclasses.replace(card, seed=1).to_json().encode()
    parcel = shipping.packed(spoilt(files, how, other))
    folder = job.weights.path.parent
    with pytest.raises(CellError, match="is no checkpoint of this training"):
        keep(parcel, parcel.digest, folder)
    with pytest.raises(CellError, match="on its way"):
        keep(parcel, far.checkpoint[1], folder)
    assert not folder.exists()


def test_data_and_weights_are_sent_once_and_old_weights_forgotten(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    sending = Supply({job.data: job.dataset}, store.put)
    monkeypatch.setattr(supply, "_MOST_FILES", 2)

    def ask(number: int) -> None:
        path = tmp_path / f"{number}.pth"
        path.write_bytes(bytes([number]))
        digest = file_sha256(path)
        checkpoint = dataclasses.replace(job.weights.checkpoint, sha256=digest)
        weights = dataclasses.replace(job.weights, path=path, checkpoint=checkpoint)
        task = Measure(
            job=0,
            weights=weights,
            source=None,
            data=job.data,
            limits=job.limits,
            cell=job.cells[0],
            perturbation=None,
            before=None,
            batch_size=None,
            compiled=False,
        )
        needs = sending.needs(task)
        assert needs.files.keys() == {digest}

    for number in (1, 2, 1, 3, 1):
        ask(number)
    assert len(store.kept) == 4  # the data, and three files of weights
    ask(2)
    assert len(store.kept) == 5


def test_an_actor_answers_with_notes_and_errors(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "node"))
    said: list[Said] = []

    class Ear:
        class say:  # noqa: N801
            @staticmethod
            def remote(name: str, word: Said) -> None:
                said.append(word)

    actor = Performer("run", "cpu", 1, Ear)
    sent = Sent(reference=0, digest="no")
    needs = supply.Needs(datasets={job.data: sent}, files={})
    answer = actor.perform("task", b"not pickled", needs)
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, CellError)
    assert str(answer.error).startswith("UnpicklingError: ")
    assert answer.result is None
