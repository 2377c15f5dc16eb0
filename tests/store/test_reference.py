"""The reference: written from a store, read back by the digest of the data, refused when edited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.store import reference
from benchharness.store.cells import CLEAN
from benchharness.store.folder import Store
from tests import factories

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions

MODEL = {"name": "resnet3d_18", "arguments": (), "preprocessing": ()}
MOTION = replace(
    factories.PERTURBATION, kind="artefact", name="motion", family="mr", severity=3, parameters=()
)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "references"
    monkeypatch.setattr(reference, "folder", lambda: folder)
    return folder


def save(store: Store, cell: Cell, shift: float = 0.0) -> Predictions:
    plain = factories.predictions()
    predictions = replace(plain, logits=plain.logits + np.float32([shift, 0, 0]), extra={})
    stored = store.save_predictions(cell, predictions)
    store.append(factories.record(cell, predictions=stored))
    return predictions


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    with store.writing():
        save(store, factories.cell(model=MODEL, perturbation=vars_of(CLEAN)))
        save(store, factories.cell(model=MODEL, perturbation=vars_of(MOTION)), 0.5)
        save(store, factories.cell(model=MODEL), 1.0)  # an attack: no part of the reference
    return store


def vars_of(key: object) -> dict[str, object]:
    return {name: getattr(key, name) for name in key.__slots__}  # type: ignore[attr-defined]


def test_what_was_saved_is_found_by_the_data_and_answers_subsets(
    store: Store, own_folder: Path
) -> None:
    (card,) = reference.save(store.directory)
    assert card == own_folder / "adrenalmnist3d.json"
    found = reference.find(factories.DATASET)
    assert found is not None
    assert found.card["model"]["name"] == "resnet3d_18"
    assert found.card["checkpoint"]["sha256"] == "a" * 64
    assert [entry["name"] for entry in found.card["perturbations"]] == ["none", "motion"]
    whole = factories.predictions()
    for key, shift in ((CLEAN, 0.0), (MOTION, 0.5)):
        answer, reason = found.predictions(key, whole.ids[[4, 1]])
        assert (answer is not None, reason) == (True, "")
        assert answer is not None
        assert np.array_equal(answer.labels, whole.labels[[4, 1]])
        assert np.array_equal(answer.logits, (whole.logits + np.float32([shift, 0, 0]))[[4, 1]])
    assert reference.find(replace(factories.DATASET, digest="md5:other")) is None


def test_saving_twice_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        (card,) = reference.save(store.directory, folder)
        files.append((card.read_bytes(), card.with_suffix(".npz").read_bytes()))
    assert files[0] == files[1]


def test_it_says_what_it_lacks(store: Store) -> None:
    reference.save(store.directory)
    found = reference.find(factories.DATASET)
    assert found is not None
    ids = factories.predictions().ids
    other = replace(MOTION, severity=4)
    assert found.predictions(other, ids) == (
        None,
        "the reference was not measured under motion with these parameters",
    )
    more = np.asarray([*ids, "sample/test/99"])
    assert found.predictions(CLEAN, more) == (
        None,
        "the reference was measured on 6 volumes and lacks 1 of these",
    )


def test_an_edited_file_is_refused(store: Store) -> None:
    (card,) = reference.save(store.directory)
    file = card.with_suffix(".npz")
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(BenchError, match=r"is not the reference that its card names"):
        reference.find(factories.DATASET)


def test_a_store_without_the_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no clean cell of resnet3d_18 trained with seed 3"):
        reference.save(tmp_path, seed=3)


def test_two_trainings_are_refused(store: Store) -> None:
    with store.writing():
        clean = factories.cell(
            model=MODEL, perturbation=vars_of(CLEAN), checkpoint={"sha256": "f" * 64}
        )
        save(store, clean)
    with pytest.raises(BenchError, match="holds 2 trainings of resnet3d_18 on adrenalmnist3d"):
        reference.save(store.directory)


def test_what_is_committed_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for path in reference.folder().glob("*.json"):
        found = reference._load(path)
        shape = (len(found.card["perturbations"]), len(found.ids))
        assert (len(found.logits), len(found.labels)) == shape
        for logits in found.logits.values():
            assert np.isfinite(logits).all()
