"""Weights that the user brings are measured on exactly what their name says, or are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchharness.errors import BenchError
from benchharness.run import config
from benchharness.run.planning import plan
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two archives and the weights 0.pt to 3.pt."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        samples.write_archive(tmp_path / f"{name}.npz")
    for seed in range(4):
        torch.manual_seed(seed)
        torch.save(samples.tiny(2).state_dict(), tmp_path / f"{seed}.pt")
    return tmp_path


def planned(*checkpoints: str, **more: Any) -> list[tuple[str, str, int | None, str]]:
    """(model, dataset, seed, file) of every network; what is trained has the file `trained`."""
    given = {"models": "tests.samples:tiny", "datasets": "one.npz,two.npz", "device": "cpu"}
    asked = config.load(None, given | {"checkpoint": list(checkpoints)} | more)
    return [
        (
            job.weights.model.name,
            job.dataset.name,
            job.weights.seed,
            "trained" if job.weights.recipe else job.weights.path.name,
        )
        for job in plan(asked).jobs
    ]


def refused(*checkpoints: str, **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        planned(*checkpoints, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dataset", ["one", "one.npz"])
def test_a_dataset_given_by_path_can_be_named_by_path_or_name(dataset: str) -> None:
    found = planned(f"tiny@{dataset}=1.pt", "tiny=0.pt")
    assert found == [("tiny", "one", None, "1.pt"), ("tiny", "two", None, "0.pt")]


def test_a_path_with_folders_and_signs_can_be_named(here: Path) -> None:
    (here / "a#1@b").mkdir()
    samples.write_archive(here / "a#1@b" / "three.npz")
    found = planned("tiny@a#1@b/three.npz=1.pt", datasets="a#1@b/three.npz")
    assert found == [("tiny", "three", None, "1.pt")]


def test_in_a_file_a_dataset_may_have_an_equals_sign(here: Path) -> None:
    samples.write_archive(here / "a=b.npz")
    found = planned(datasets="a=b.npz", checkpoint={"tiny@a=b.npz": "1.pt"})
    assert found == [("tiny", "a=b", None, "1.pt")]


@pytest.mark.parametrize("name", ["tiny@on", "tiny@one.np", "tiny@./two", "tiny#0@onee"])
def test_an_unknown_dataset_is_refused_with_the_nearest(name: str) -> None:
    said = refused(f"{name}=1.pt")
    assert said.startswith(f"--checkpoint names {name.partition('@')[2]!r}, which is not among")
    assert "Did you mean" in said


@pytest.mark.parametrize("name", ["tinny", "tinny@one", "tinny#0", "tests.samples:tinny"])
def test_an_unknown_model_is_refused_with_the_nearest(name: str) -> None:
    assert "Did you mean" in refused(f"{name}=1.pt")


def test_a_model_may_be_named_as_it_was_typed() -> None:
    assert planned("tests.samples:tiny=1.pt", datasets="one.npz") == [("tiny", "one", None, "1.pt")]


def test_one_file_a_seed() -> None:
    found = planned("tiny#0=0.pt", "tiny#1=1.pt", "tiny#1@two=3.pt", seeds="0,1")
    assert [(dataset, seed, path) for _, dataset, seed, path in found] == [
        ("one", 0, "0.pt"),
        ("one", 1, "1.pt"),
        ("two", 0, "0.pt"),
        ("two", 1, "3.pt"),
    ]


def test_a_seed_reaches_the_record() -> None:
    given = {"models": "tests.samples:tiny", "datasets": "one.npz", "device": "cpu"}
    asked = config.load(None, given | {"checkpoint": ["tiny#5=0.pt"], "seeds": "5"})
    (cell,) = plan(asked).cells
    assert cell.checkpoint.seed == 5
    assert cell.checkpoint.recipe is None


@pytest.mark.parametrize(
    ("names", "seeds", "message"),
    [
        (["tiny=0.pt"], "0,1,2", r"is one network, so --seeds 0,1,2 measures it once.*tiny#0=PATH"),
        (["tiny#0=0.pt"], "0,1", "Add --checkpoint tiny#1=PATH"),
        (["tiny#0=0.pt", "tiny#1=1.pt"], "0", "Type --seeds 0,1"),
        (["tiny#3=0.pt"], "0", "Add --checkpoint tiny#0=PATH, or leave 0 out"),
        (["tiny#0=0.pt", "tiny=1.pt"], "0", "one has no seed and another has"),
        (["tiny#0=0.pt", "tiny#00=1.pt"], "0", "are for the same network"),
        (["tiny@one=0.pt", "tiny@one.npz=1.pt"], "0", "are for the same network"),
        (["tiny#0=0.pt", "tiny#1=0.pt"], "0,1", "the same weights for seeds 0 and 1"),
    ],
)
def test_files_and_seeds_that_do_not_match_are_refused(
    names: list[str], seeds: str, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        planned(*names, seeds=seeds)


def test_beside_trained_seeds_one_file_is_measured_once_and_that_is_said() -> None:
    given = {"models": "tests.samples:tiny,tests.samples:wider", "datasets": "one.npz"}
    asked = config.load(None, given | {"checkpoint": ["tiny=0.pt"], "seeds": "0,1"})
    made = plan(asked)
    assert [job.weights.seed for job in made.jobs] == [None, 0, 1]
    assert any("tiny=0.pt is one network" in note for note in made.notes)


def test_a_limit_above_the_size_is_said() -> None:
    given = {"models": "tests.samples:tiny", "datasets": "one.npz", "limit": 25}
    assert plan(config.load(None, given)).notes == (
        "--limit 25 is more than one has: all 24 test volumes are evaluated.",
    )
    assert plan(config.load(None, given | {"limit": 24})).notes == ()
