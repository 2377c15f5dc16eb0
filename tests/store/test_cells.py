"""What identity depends on, and what it does not."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchharness.canonical import canonical_json, digest, pairs
from benchharness.store.cells import (
    CLEAN,
    Cell,
    CheckpointKey,
    DatasetKey,
    ModelKey,
    PerturbationKey,
    SourceKey,
    format_severity,
)
from tests.factories import CHECKPOINT, MODEL, cell

SOURCE = SourceKey(model=MODEL, checkpoint=CHECKPOINT)

CHANGES: dict[str, dict[str, Any]] = {
    "model.factory": {"model": {"factory": "own.module:factory"}},
    "model.arguments": {"model": {"arguments": (("depths", (3, 5)), ("width", 0.5))}},
    "model.preprocessing": {"model": {"preprocessing": ()}},
    "model.outputs": {"model": {"outputs": (("form", "logit"), ("take", (0, "out")))}},
    "checkpoint.sha256": {"checkpoint": {"sha256": "b" * 64}},
    "checkpoint.part": {"checkpoint": {"part": "model_ema"}},
    "checkpoint.twin": {"checkpoint": {"twin": "0123456789abcdef"}},
    "dataset.digest": {"dataset": {"digest": "sha256:bbc"}},
    "dataset.split": {"dataset": {"split": "val"}},
    "dataset.volumes": {"dataset": {"volumes": "d" * 64}},
    "perturbation.kind": {"perturbation": {"kind": "artefact"}},
    "perturbation.name": {"perturbation": {"name": "fgsm"}},
    "perturbation.version": {"perturbation": {"version": 2}},
    "perturbation.parameters": {"perturbation": {"parameters": (("steps", 11),)}},
    "perturbation.severity": {"perturbation": {"severity": 2 / 255}},
    "perturbation.seed": {"perturbation": {"seed": 1}},
    "perturbation.source": {"perturbation": {"source": SOURCE}},
}

FOR_PEOPLE: dict[str, dict[str, Any]] = {
    "model.name": {"model": {"name": "mine"}},
    "checkpoint.recipe": {"checkpoint": {"recipe": None}},
    "checkpoint.seed": {"checkpoint": {"seed": None}},
    "dataset.name": {"dataset": {"name": "mine"}},
    "dataset.count": {"dataset": {"count": 9}},
    "dataset.total": {"dataset": {"total": 9}},
    "dataset.modality": {"dataset": {"modality": "ct"}},
    "perturbation.family": {"perturbation": {"family": "l2"}},
}

PENDING: dict[str, Any] = {"sha256": None}


def test_every_field_of_a_cell_is_listed_here() -> None:
    parts = {
        "model": ModelKey,
        "checkpoint": CheckpointKey,
        "dataset": DatasetKey,
        "perturbation": PerturbationKey,
    }
    names = {f"{part}.{field.name}" for part, kind in parts.items() for field in fields(kind)}
    assert names == CHANGES.keys() | FOR_PEOPLE.keys()


def test_the_identity_of_a_cell_never_moves() -> None:
    """A change here makes every existing store run again: raise the schema and say so."""
    assert cell().identity == GOLDEN
    assert cell(checkpoint=PENDING).identity == GOLDEN_PENDING


GOLDEN = "310ef947e7974567ff51057d996b2d8afaa89f1ebf263297872815b3131af880"
GOLDEN_PENDING = "487220cc61c28f7d32dc84a6933926cc0a62d3e0137442ac076eb33d70d04f6d"


@pytest.mark.parametrize("name", CHANGES)
def test_what_can_change_a_number_changes_the_identity(name: str) -> None:
    assert cell(**CHANGES[name]).identity != cell().identity


def test_no_two_changes_give_the_same_identity() -> None:
    identities = {cell(**change).identity for change in CHANGES.values()}
    assert len(identities) == len(CHANGES)


def test_a_source_counts_by_its_weights_and_not_by_its_name() -> None:
    def made_on(model: dict[str, Any], checkpoint: dict[str, Any]) -> Cell:
        source = SourceKey(
            model=replace(MODEL, **model), checkpoint=replace(CHECKPOINT, **checkpoint)
        )
        return cell(perturbation={"source": source})

    one = made_on({}, {})
    assert made_on({"name": "another"}, {"recipe": None}).identity == one.identity
    assert made_on({}, {"sha256": "b" * 64}).identity != one.identity
    pending = made_on({}, {"sha256": None})
    assert (pending.pending, one.pending) == (True, False)
    assert pending.source_trained("a" * 64) == one
    assert Cell.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert "source" not in cell().to_json()["perturbation"]


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_what_is_for_people_does_not(name: str) -> None:
    assert cell(**FOR_PEOPLE[name]).identity == cell().identity


@pytest.mark.parametrize(
    "change", [{"recipe": (("epochs", 13), ("name", "quick"), ("version", 1))}, {"seed": 1}]
)
def test_a_pending_cell_is_known_by_recipe_and_seed(change: dict[str, Any]) -> None:
    before = cell(checkpoint=PENDING)
    after = cell(checkpoint=PENDING | change)
    assert before.pending
    assert after.identity != before.identity


def test_a_trained_cell_is_known_by_its_weights() -> None:
    pending = cell(checkpoint=PENDING)
    trained = pending.trained("a" * 64)
    assert not trained.pending
    assert trained.identity == cell().identity != pending.identity


@pytest.mark.parametrize(
    "original",
    [
        cell(),
        cell(checkpoint=PENDING),
        cell(checkpoint={"recipe": None, "seed": None}),
        cell(perturbation={"severity": 1.0, "parameters": (("nested", ((1, 2.0), "x", None)),)}),
        cell(perturbation={"kind": "artefact", "severity": 3, "seed": 2**62}),
        Cell(
            model=cell().model,
            checkpoint=cell().checkpoint,
            dataset=cell().dataset,
            perturbation=CLEAN,
        ),
    ],
)
def test_a_planned_cell_equals_the_recorded_one(original: Cell) -> None:
    read = Cell.from_json(json.loads(canonical_json(original.to_json())))
    assert read == original
    assert read.identity == original.identity
    assert hash(read) == hash(original)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), -float("inf")))
VALUES = st.recursive(FINITE, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(parameters=st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_any_parameters_survive_the_round_trip(parameters: dict[str, Any]) -> None:
    original = cell(perturbation={"parameters": pairs(parameters)})
    read = Cell.from_json(json.loads(canonical_json(original.to_json())))
    assert read == original
    assert read.identity == original.identity


def test_the_order_of_parameters_does_not_matter() -> None:
    assert pairs({"b": [1, [2]], "a": 1}) == pairs({"a": 1, "b": (1, (2,))})
    assert canonical_json({"b": 1, "a": [1, None]}) == '{"a":[1,null],"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_number_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"severity": value})


@pytest.mark.parametrize("part", ["model", "checkpoint", "dataset", "perturbation"])
def test_a_cell_with_a_part_missing_is_refused(part: str) -> None:
    payload = cell().to_json()
    del payload[part]
    with pytest.raises(KeyError, match=part):
        Cell.from_json(payload)


def test_a_recipe_has_a_name() -> None:
    assert cell().checkpoint.recipe_name == "quick"
    assert cell(checkpoint={"recipe": None}).checkpoint.recipe_name is None


@pytest.mark.parametrize(
    ("kind", "severity", "text"),
    [
        ("attack", 8 / 255, "8/255"),
        ("attack", 0.1, "0.1"),
        ("attack", 0.03, "0.03"),
        ("attack", 0.0, "0"),
        ("attack", 1.0, "1"),
        ("attack", 12, "12"),
        ("artefact", 3, "level 3"),
        ("none", None, ""),
    ],
)
def test_severities_are_written_as_people_do(kind: Any, severity: Any, text: str) -> None:
    perturbation = cell(perturbation={"kind": kind, "severity": severity}).perturbation
    assert format_severity(perturbation) == text


def test_outputs_are_written_only_where_they_were_chosen() -> None:
    assert "outputs" not in cell().to_json()["model"]
    chosen = cell(**CHANGES["model.outputs"])
    written = json.loads(json.dumps(chosen.to_json()))
    assert written["model"]["outputs"] == {"form": "logit", "take": [0, "out"]}
    assert Cell.from_json(written) == chosen


def test_an_identity_is_the_digest_of_the_whole_cell() -> None:
    of = cell()
    whole = {
        **of.model.numbers(),
        "checkpoint": {"sha256": of.checkpoint.sha256},
        "dataset": of.dataset.digest,
        "split": of.dataset.split,
        "volumes": of.dataset.volumes,
        "perturbation": of.perturbation.numbers(),
    }
    assert of.identity == digest(whole)
