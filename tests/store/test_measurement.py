"""What two cells must share before their numbers can be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchharness.store import measurement
from benchharness.store.cells import CLEAN, PerturbationKey, family_order, family_title
from tests.factories import cell

PGD = PerturbationKey(
    kind="attack",
    name="pgd",
    version=1,
    family="linf",
    parameters=(("steps", 10),),
    severity=8 / 255,
    seed=0,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"severity": 2 / 255}, ()),
        ({"version": 2}, (("version", 1, 2),)),
        ({"parameters": (("steps", 20),)}, (("steps", 10, 20),)),
        (
            {"parameters": (("restarts", 5), ("steps", 10)), "seed": 1},
            (("perturbation seed", 0, 1), ("restarts", measurement.ABSENT, 5)),
        ),
    ],
)
def test_differences_name_what_changed(
    changes: dict[str, Any], expected: tuple[tuple[str, object, object], ...]
) -> None:
    first, second = (measurement.of_perturbation(key) for key in (PGD, replace(PGD, **changes)))
    found = measurement.differences(first, second)
    assert tuple((one.name, one.first, one.second) for one in found) == expected


def test_data_split_and_volumes_are_part_of_a_measurement() -> None:
    key = cell().dataset
    other = replace(key, digest="md5:other", split="val", volumes="some", name="another name")
    found = measurement.differences(measurement.of_data(key), measurement.of_data(other))
    assert [one.name for one in found] == ["dataset digest", "split", "volumes"]


def test_families_have_one_title_and_one_order() -> None:
    keys = [("artefact", "mr"), ("attack", "linf"), ("attack", "l2"), ("none", CLEAN.family)]
    ordered = sorted(keys, key=lambda key: family_order(*key))
    assert [family_title(*key) for key in ordered] == [
        "clean",
        "L2 attacks",
        "L∞ attacks",
        "MR artefacts",
    ]
    assert family_title("artefact", "own") == "own artefacts"
