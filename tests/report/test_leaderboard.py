"""Stores of many people: one table of what is the same measurement, refusal of the rest."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from benchharness.errors import BenchError
from benchharness.report.joining import join
from benchharness.report.leaderboard import leaderboard
from benchharness.store import baseline
from benchharness.store.folder import Store
from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from pathlib import Path


def small(model: str, **changes: Any) -> list[Made]:
    return [
        replace(one, **changes)
        for one in whole_matrix(models=(model,))
        if one.perturbation in (None, "pgd", "motion")
    ]


def test_models_of_several_stores_stand_in_one_table(tmp_path: Path) -> None:
    first = store_of(tmp_path / "anna", small("medvit3d_n")).directory
    second = store_of(tmp_path / "ben", small("resnet3d_18", correct=0.2)).directory
    third = baseline.save(
        store_of(tmp_path / "cleo", small("resnet3d_18", weights="other")),
        tmp_path / "cleo.zip",
    )
    found = leaderboard(join([first, second, third.path]))
    frame = pd.read_csv(io.StringIO(found.csv))
    assert set(frame["model"]) == {"medvit3d_n", "resnet3d_18 (ben)", "resnet3d_18 (cleo.zip)"}
    assert set(frame["family"]) == {"clean", "linf", "mr"}
    clean = frame[frame["family"] == "clean"].set_index("source")
    assert clean.loc["ben", "group"] == 2
    assert clean.loc["anna", "group"] == clean.loc["cleo.zip", "group"] == 1
    assert clean.loc["anna", "accuracy_low"] < clean.loc["anna", "accuracy"]
    for text in ("# Leaderboard", "## adrenalmnist3d", "Ranks on adrenalmnist3d", "resnet3d_18 (b"):
        assert text in found.markdown


def test_a_cell_that_two_stores_share_stands_once(tmp_path: Path) -> None:
    first = store_of(tmp_path / "a", small("medvit3d_n")).directory
    second = store_of(tmp_path / "b", small("medvit3d_n")).directory
    frame = pd.read_csv(io.StringIO(leaderboard(join([first, second])).csv))
    assert len(frame) == 3
    assert set(frame["source"]) == {"a"}


def test_two_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    first = store_of(tmp_path / "a" / "store", small("medvit3d_n")).directory
    second = store_of(tmp_path / "b" / "store", small("medvit3d_n", weights="other")).directory
    frame = pd.read_csv(io.StringIO(leaderboard(join([first, second])).csv))
    assert set(frame["source"]) == {str(first), str(second)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 50}, r"adrenalmnist3d: volumes 60 of 60 \(.*\) in a, 50 of 50 \(.*\) in b"),
        ({"parameters": {"steps": 50}}, "pgd 2/255 on adrenalmnist3d: steps 10 in a, 50 in b"),
        ({"parameters": {"restarts": 5}}, "restarts absent in a, 5 in b"),
    ],
)
def test_what_is_not_the_same_measurement_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    first = store_of(tmp_path / "a", small("medvit3d_n")).directory
    second = store_of(tmp_path / "b", small("resnet3d_18", **changes)).directory
    with pytest.raises(BenchError, match=message) as caught:
        leaderboard(join([first, second]))
    assert str(caught.value).startswith("these are not the same measurements. ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["attack", "artefact", "data"])
def test_other_versions_and_data_are_refused(tmp_path: Path, what: str) -> None:
    first = store_of(tmp_path / "a", small("medvit3d_n")).directory
    other = Store(tmp_path / "b")
    with other.writing():
        for made in small("resnet3d_18"):
            made.save(other)
    lines = list(other.records().values())
    (tmp_path / "c").mkdir()
    changed = Store(tmp_path / "c")
    with changed.writing():
        for record in lines:
            cell = record.cell
            if what == "data":
                cell = replace(cell, dataset=replace(cell.dataset, digest="md5:other"))
            elif cell.perturbation.kind == what:
                cell = replace(cell, perturbation=replace(cell.perturbation, version=2))
            stored = changed.save_predictions(cell, other.predictions(record))
            changed.append(replace(record, cell=cell, predictions=stored))
    message = (
        "dataset digest md5:.* in a, md5:other in c" if what == "data" else "version 1 in a, 2 in c"
    )
    with pytest.raises(BenchError, match=message):
        leaderboard(join([first, tmp_path / "c"]))
