"""Few labelled volumes: nested, stratified, by hash, patients whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchharness.datasets.base import Split
from benchharness.errors import BenchError
from benchharness.training import recipes, shots


def split(counts: tuple[int, ...], *, per_patient: int = 1) -> Split:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    total = len(labels)
    return Split(
        ids=tuple(f"a/{place}" for place in range(total)),
        volumes=np.zeros((total, 1, 1, 1, 1), np.uint8),
        labels=labels,
        patients=None
        if per_patient == 1
        else tuple(f"p{place // per_patient}" for place in range(total)),
    )


@pytest.mark.parametrize("per_patient", [1, 2])
def test_fewer_shots_are_some_of_more(per_patient: int) -> None:
    whole = split((60, 40, 20), per_patient=per_patient)
    before: set[str] = set()
    for count in (6, 16, 32, 64, 120):
        ids = set(shots.choose(whole, count, name="a").ids)
        assert before <= ids
        assert len(ids) == count
        before = ids


def test_classes_keep_their_shares() -> None:
    whole = split((60, 40, 20))
    for count in (16, 64):
        labels = shots.choose(whole, count, name="a").labels
        found = np.bincount(labels, minlength=3)
        assert np.abs(found - count * np.array([60, 40, 20]) / 120).max() <= 1.5


def test_patients_stay_whole() -> None:
    whole = split((50, 50), per_patient=5)
    chosen = shots.choose(whole, 17, name="a")
    assert chosen.patients is not None
    assert len(chosen) == 15
    assert set(np.unique(chosen.patients, return_counts=True)[1]) == {5}


def test_the_choice_is_the_names_and_not_the_order() -> None:
    whole = split((30, 30))
    turned = whole.select(np.arange(60)[::-1])
    assert set(shots.choose(turned, 16, name="a").ids) == set(shots.choose(whole, 16, name="a").ids)
    renamed = replace(whole, ids=tuple(f"b/{place}" for place in range(60)))
    places = {one.partition("/")[2] for one in shots.choose(renamed, 16, name="b").ids}
    assert places != {one.partition("/")[2] for one in shots.choose(whole, 16, name="a").ids}


def test_what_cannot_be_chosen_is_refused() -> None:
    whole = split((30, 30), per_patient=5)
    with pytest.raises(BenchError, match="--shots 61 is more than a has: 60 volumes"):
        shots.choose(whole, 61, name="a")
    with pytest.raises(BenchError, match="--shots 7 on a shows 1 of its 2 classes"):
        shots.choose(whole, 7, name="a")
    assert shots.choose(whole, None, name="a") is whole


def test_few_volumes_take_enough_steps() -> None:
    recipe = recipes.find("finetune")
    assert recipe.for_volumes(16).epochs == 80
    assert recipe.for_volumes(64).epochs == 20
    assert recipe.for_volumes(5000).epochs == recipe.epochs
    assert (recipe.keep, recipes.find("scratch").keep) == ("last", "last")
    assert "keep" not in dict(recipes.find("quick").to_pairs())
