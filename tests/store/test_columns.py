"""Columns of the index: what is packed comes back, and what is no column is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchharness.store.columns import pack, unpack
from benchharness.store.schema import MISFIT

COLUMNS: list[list[Any]] = [
    ["a", "b", "c"],
    ["a b", "c", "d"],
    ["", "b", "c"],
    ["a", None, "b"],
    ["x"] * 9,
    ["x"],
    [None] * 5,
    ["x", "y", None] * 8,
    [1, 2, 3],
    [0.5, None, 0.25],
    [True, False] * 10,
]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_what_is_packed_comes_back(column: list[Any]) -> None:
    packed = json.loads(json.dumps(pack(column)))
    kinds = tuple(set(map(type, column)))
    assert unpack(packed, kinds, len(column)) == column


@pytest.mark.parametrize(
    "packed",
    [
        None,
        7,
        {},
        {"texts": 7},
        {"texts": "a b"},
        {"all": 1},
        {"of": ["a"], "codes": [0, 0, 1]},
        {"of": ["a"], "codes": [0, 0]},
        ["a", "b"],
        ["a", "b", 7],
    ],
    ids=str,
)
def test_what_is_no_column_of_three_texts_is_refused(packed: Any) -> None:
    with pytest.raises(MISFIT):
        unpack(packed, (str,), 3)


def test_one_value_for_nobody_knows_how_many_is_refused() -> None:
    with pytest.raises(MISFIT):
        unpack({"all": "a"}, (str,))
