"""A model card is that of its folder and its weights, or it is refused and `verify` says so."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.canonical import pairs, sha256
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store import cards, upkeep
from benchharness.store.cards import CARD, WEIGHTS, ModelCard
from benchharness.store.cells import CLEAN, Cell, CheckpointKey
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions
from tests.factories import DATASET, record, store_of, tiny

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parents[2] / "results"


def card(weights: bytes = b"weights", **changes: Any) -> ModelCard:
    """A card as training writes it."""
    settings: dict[str, Any] = {
        "model": "tiny",
        "factory": "tests.samples:tiny",
        "arguments": {"width": 4},
        "preprocessing": {"scale": 0.5},
        "dataset": "sample",
        "dataset_digest": "md5:sample",
        "num_classes": 3,
        "in_channels": 1,
        "recipe": {"name": "quick", "epochs": 4, "source": "ours", "summary": "short"},
        "seed": 0,
        "selection_split": "val",
        "selection_epoch": 2,
        "val_metrics": {"auc": 0.9},
        "test_metrics": {"auc": None, "nll": 3.5},
        "sha256": sha256(weights),
        "provenance": {"device": "cpu"},
    }
    return ModelCard(**(settings | changes))


def placed(store: Path, made: ModelCard, weights: bytes = b"weights") -> Path:
    """The folder of a checkpoint, written as training does."""
    folder = store / "checkpoints" / made.folder
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CARD).write_text(made.to_json())
    return folder


def verified(store: Path) -> upkeep.Verification:
    (store / "records.jsonl").touch()
    return upkeep.verify(store)


def test_a_card_survives_the_round_trip(tmp_path: Path) -> None:
    made = card(initial_weights={"method": "resnet", "sha256": "0" * 64})
    folder = placed(tmp_path, made)
    assert cards.read(folder) == made
    assert verified(tmp_path).checkpoints == 1


def test_a_card_speaks_of_these_weights_only(tmp_path: Path) -> None:
    folder = placed(tmp_path, card())
    (folder / WEIGHTS).write_bytes(b"others")
    with pytest.raises(BenchError) as caught:
        cards.read(folder)
    assert str(caught.value) == (
        f"{folder / WEIGHTS} is not the file its model card describes (SHA-256 differs). "
        f"Remove {folder} to train it anew."
    )
    assert verified(tmp_path).checkpoints == 0


def test_a_card_without_weights(tmp_path: Path) -> None:
    folder = placed(tmp_path, card())
    (folder / WEIGHTS).unlink()
    with pytest.raises(BenchError, match=r"cannot read checkpoint .*: No such file or directory\."):
        cards.read(folder)


DAMAGED = ["", "{", "[]", "{}", "7", '{"model": "tiny"}', "\ufffd", '{"seed": NaN}', "[" * 9999]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_card_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    folder = placed(tmp_path, card())
    (folder / CARD).write_text(content)
    with pytest.raises(
        BenchError, match=r"^cannot read model card .* to train it anew\.$"
    ) as found:
        cards.read(folder)
    assert "\n" not in str(found.value)
    assert len(verified(tmp_path).problems) == 1


def test_a_card_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        card(val_metrics={"auc": float("nan")}).to_json()


@pytest.mark.parametrize("swapped", ["seed", "dataset_digest", "factory", "model", "dataset"])
def test_two_folders_whose_contents_were_swapped_are_refused(tmp_path: Path, swapped: str) -> None:
    """Weights and card together are sound, but they are another training's."""
    other = {"seed": 1}.get(swapped, f"{getattr(card(), swapped)}2")
    one = placed(tmp_path, card())
    two = placed(tmp_path, card(b"two", **{swapped: other}), b"two")
    for name in (WEIGHTS, CARD):
        first, second = (one / name).read_bytes(), (two / name).read_bytes()
        (one / name).write_bytes(second)
        (two / name).write_bytes(first)
    for folder in (one, two):
        with pytest.raises(BenchError, match="is not that of its folder: ") as caught:
            cards.read(folder)
        assert str(caught.value).startswith(f"model card {folder / CARD} ")
    found = verified(tmp_path)
    assert (found.checkpoints, len(found.problems)) == (0, 2)


EDITS: dict[str, Any] = {
    "model": "other",
    "factory": "other:factory",
    "arguments": {"width": 5},
    "preprocessing": {},
    "dataset": "other",
    "dataset_digest": "md5:other",
    "num_classes": 4,
    "in_channels": 2,
    "recipe": {"name": "quick", "epochs": 5, "source": "ours", "summary": "short"},
    "seed": 1,
    "selection_split": "test",
    "selection_epoch": 3,
    "val_metrics": {"auc": 0.99},
    "test_metrics": {"auc": 0.99},
    "sha256": "0" * 64,
    "provenance": {"device": "cuda"},
    "initial_weights": {"method": "resnet", "sha256": "0" * 64},
    "outputs": {"take": [0]},
    "start": {"recipe": "quick", "sha256": "0" * 64},
    "ended": "early",
    "transfer": {"train_on": "other"},
}


def test_every_field_is_edited_here() -> None:
    assert EDITS.keys() == asdict(card()).keys()


@pytest.mark.parametrize("field", EDITS)
def test_no_field_of_a_card_can_be_edited(tmp_path: Path, field: str) -> None:
    folder = placed(tmp_path, card())
    content = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps(content | {field: EDITS[field]}))
    with pytest.raises(BenchError, match="it was edited"):
        cards.read(folder)
    assert len(verified(tmp_path).problems) == 1


def old(folder: Path, **changes: Any) -> None:
    """Write a card as earlier versions did, without its digest."""
    content = json.loads((folder / CARD).read_text(encoding="utf-8"))
    del content["digest"]
    (folder / CARD).write_text(json.dumps(content | changes))


def test_a_card_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = placed(tmp_path, card())
    old(folder)
    assert cards.read(folder) == card()


@pytest.mark.parametrize(
    "change",
    [
        *({name: EDITS[name]} for name in ("model", "factory", "arguments", "preprocessing")),
        *({name: EDITS[name]} for name in ("dataset", "dataset_digest", "recipe", "seed")),
        *({name: EDITS[name]} for name in ("sha256", "initial_weights", "selection_split")),
        {"outputs": EDITS["outputs"]},
        {"selection_epoch": 5},
        {"selection_epoch": 0},
        {"num_classes": 1},
        {"in_channels": 0},
        {"seed": "0"},
        {"seed": True},
        {"test_metrics": {"accuracy": 1.2}},
        {"val_metrics": {"nll": -1.0}},
        {"recipe": {}},
        {"initial_weights": {}},
        {"provenance": None},
    ],
    ids=str,
)
def test_an_edit_of_an_earlier_card_shows_where_it_contradicts_something(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = placed(tmp_path, card())
    old(folder, **change)
    with pytest.raises(BenchError) as caught:
        cards.read(folder)
    assert "\n" not in str(caught.value)
    assert verified(tmp_path).checkpoints == 0
    assert len(verified(tmp_path).problems) == 1


def measured(folder: Path, made: ModelCard, change: Callable[[Cell], Cell] = lambda c: c) -> None:
    """Write a store whose clean cell has four of ten volumes wrong with a card's weights."""
    labels = np.arange(10) % 3
    logits = np.eye(3, dtype=np.float32)[np.where(np.arange(10) < 4, (labels + 1) % 3, labels)]
    of = Cell(
        model=made.key,
        checkpoint=CheckpointKey(recipe=made.settings, seed=made.seed, sha256=made.sha256),
        dataset=replace(DATASET, name=made.dataset, digest=made.dataset_digest, total=10),
        perturbation=CLEAN,
    )
    found = Predictions(ids=np.asarray([f"v{i}" for i in range(10)]), labels=labels, logits=logits)
    values, undefined = metrics.compute(labels, logits)
    store = Store(folder)
    with store.writing():
        cell = change(of)
        store.append(
            record(
                cell,
                metrics=values,
                undefined=undefined,
                certificate=(),
                predictions=store.save_predictions(cell, found),
            )
        )


def test_a_card_is_held_against_the_clean_cell_of_its_weights(tmp_path: Path) -> None:
    made = card(test_metrics={"accuracy": 0.6})
    folder = placed(tmp_path, made)
    measured(tmp_path, made)
    assert upkeep.verify(tmp_path).problems == ()
    old(folder, test_metrics={"accuracy": 1.0}, num_classes=4)
    (classes, accuracy) = upkeep.verify(tmp_path).problems
    assert classes.endswith("has 4 classes, the predictions of its weights 3.")
    assert accuracy.endswith("has accuracy 1.0000, the record of its clean cell 0.6000.")


def test_a_card_is_held_against_the_training_that_records_name(tmp_path: Path) -> None:
    made = card(test_metrics={"accuracy": 0.6})
    placed(tmp_path, made)
    measured(
        tmp_path,
        made,
        lambda cell: replace(cell, checkpoint=replace(cell.checkpoint, seed=1)),
    )
    (problem,) = upkeep.verify(tmp_path).problems
    assert problem.endswith("and the records of its weights tell of two trainings.")


def test_weights_that_were_brought_are_of_no_training_here(tmp_path: Path) -> None:
    made = card(test_metrics={"accuracy": 0.6})
    placed(tmp_path, made)
    brought = CheckpointKey(recipe=None, seed=None, sha256=made.sha256)
    measured(tmp_path, made, lambda cell: replace(cell, checkpoint=brought))
    assert upkeep.verify(tmp_path).problems == ()


@pytest.mark.parametrize("store", ["quickstart", "attacks"])
def test_committed_cards_are_those_of_their_folders(store: str) -> None:
    found = sorted((RESULTS / store).rglob(CARD))
    assert found
    for path in found:
        assert cards.fault(cards.parse(path), path.parent) == ""


def test_the_folder_of_a_training_never_moves() -> None:
    """Another name would train every checkpoint again."""
    made = card()
    assert str(made.folder) == "sample/tiny-quick-seed0-436b8454"
    settings = pairs({"epochs": 4, "name": "quick"})
    assert cards.folder(made.key, "sample", "md5:sample", settings, 0) == made.folder


def test_a_store_without_checkpoints_has_none(tmp_path: Path) -> None:
    made = store_of(tmp_path / "made", [tiny()])
    assert upkeep.verify(made.directory).checkpoints == 0


def test_outputs_are_part_of_a_card_only_where_they_were_chosen(tmp_path: Path) -> None:
    plain, chosen = card(), card(outputs={"take": [0]})
    assert "outputs" not in json.loads(plain.to_json())
    assert chosen.key.outputs == (("take", (0,)),)
    assert chosen.folder != plain.folder
    assert cards.read(placed(tmp_path, chosen)).key == chosen.key
