"""Verify, merge and load: damage is named, nothing is lost, and nothing is kept twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import benchharness
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store import baseline, merging, upkeep
from benchharness.store.folder import Store
from tests.factories import small_matrix, store_of, tiny
from tests.store.test_cards import card, placed

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from benchharness.store.predictions import Predictions


@pytest.fixture
def made(tmp_path: Path) -> Store:
    return store_of(
        tmp_path / "made", [*small_matrix(n=30), tiny(perturbation="pgd", severity=1.0, error="x")]
    )


def first_file(of: Store) -> Path:
    return min((of.directory / "predictions").iterdir())


# Verify.


def test_a_sound_store_and_its_baseline(made: Store) -> None:
    found = upkeep.verify(made.directory)
    assert (found.records, found.predictions, found.problems) == (9, 8, ())
    packed = baseline.save(made, made.directory / "b.zip")
    found = upkeep.verify(packed.path)
    assert (found.records, found.predictions, found.problems, found.notes) == (9, 8, (), ())


def test_every_damage_is_named(made: Store) -> None:
    lines = made.lines.read_bytes().splitlines(keepends=True)
    edited = lines[1].replace(b'"accuracy":', b'"accuracy":0.001,"was":')
    made.lines.write_bytes(b"".join([lines[0], edited, b"{}\n", *lines[3:]]))
    gone, changed = (json.loads(line)["predictions"]["path"] for line in (lines[3], lines[4]))
    (made.directory / gone).unlink()
    (made.directory / changed).write_bytes(b"other")
    problems = upkeep.verify(made.directory).problems
    assert len(problems) == 4
    assert "line 3: not a record" in problems[0]
    assert "accuracy do not follow from its predictions" in problems[1]
    assert "cannot read predictions" in problems[2]
    assert "its SHA-256 differs" in problems[3]


def test_what_is_no_damage_is_a_note(made: Store) -> None:
    record = next(iter(made.records().values()))
    with made.writing():
        made.append(record)
    (made.directory / "predictions" / "stray.npz").write_bytes(b"")
    with made.lines.open("ab") as stream:
        stream.write(b'{"torn')
    found = upkeep.verify(made.directory)
    assert found.problems == ()
    assert [note.partition(" ")[0] for note in found.notes] == [
        "the",
        "1",
        str(made.directory / "predictions" / "stray.npz"),
    ]


def checkpoint(of: Store, weights: bytes | None = b"weights") -> Path:
    """A checkpoint whose card names the bytes `weights`, whichever are there."""
    place = placed(of.directory, card(), weights or b"")
    if weights is None:
        (place / "model.safetensors").unlink()
    return place


@pytest.mark.parametrize(
    ("weights", "sound", "problems", "notes"),
    [(b"weights", 1, 0, 0), (b"others", 0, 1, 0), (None, 0, 0, 1)],
)
def test_weights_are_held_against_their_card(
    made: Store, weights: bytes | None, sound: int, problems: int, notes: int
) -> None:
    checkpoint(made, weights)
    found = upkeep.verify(made.directory)
    assert (found.checkpoints, len(found.problems), len(found.notes)) == (sound, problems, notes)


# Merge.


def test_stores_are_joined_without_loss_and_each_identity_once(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", small_matrix(n=30))
    other = store_of(
        tmp_path / "other", [*small_matrix(n=30)[:3], *small_matrix(n=30, model="b", weights="b")]
    )
    place = checkpoint(other)
    before = [(path, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()]
    merged = merging.merge([one.directory, other.directory], tmp_path / "out")
    assert (merged.records, merged.added, merged.checkpoints, merged.differing) == (16, 16, 1, ())
    assert all(path.read_bytes() == content for path, content in before), "sources are left alone"
    joined = Store(tmp_path / "out")
    assert len(joined.lines.read_bytes().splitlines()) == 16
    for source in (one, other):
        for identity, record in source.records().items():
            mine, theirs = joined.records()[identity], record
            assert mine.metrics == theirs.metrics
            found = joined.predictions(mine)
            assert found.logits.tobytes() == source.predictions(theirs).logits.tobytes()
    assert upkeep.verify(tmp_path / "out").problems == ()
    assert (joined.checkpoints / place.relative_to(other.checkpoints)).is_dir()
    again = merging.merge([one.directory, other.directory], tmp_path / "out")
    assert (again.records, again.added, again.checkpoints) == (16, 0, 0)


def test_a_baseline_can_be_merged_and_findings_of_attacks_are_kept(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", small_matrix(n=30))
    packed = baseline.save(one, tmp_path / "b.zip")
    merged = merging.merge([packed.path], tmp_path / "out")
    assert merged.records == 8
    assert upkeep.verify(tmp_path / "out").problems == ()


def test_a_measured_cell_takes_the_place_of_a_failed_one(tmp_path: Path) -> None:
    failed = store_of(tmp_path / "failed", [tiny(error="out of memory")])
    good = store_of(tmp_path / "good", [tiny()])
    for order in ([failed, good], [good, failed]):
        out = tmp_path / f"out{order[0].directory.name}"
        merged = merging.merge([source.directory for source in order], out)
        assert merged.records == 1
        assert [record.status for record in Store(out).records().values()] == ["ok"]


def test_two_outcomes_of_one_cell_are_reported_and_the_first_stays(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", [tiny()])
    other = store_of(tmp_path / "other", [tiny(correct=0.6)])
    merged = merging.merge([one.directory, other.directory], tmp_path / "out")
    assert len(merged.differing) == 1
    assert "is kept" in merged.differing[0]
    kept = next(iter(Store(tmp_path / "out").records().values()))
    assert kept.metrics == next(iter(one.records().values())).metrics


def test_merging_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no records in"):
        merging.merge([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Load.


def test_records_become_a_frame(made: Store) -> None:
    frame: pd.DataFrame = benchharness.load_records(made.directory)
    assert len(frame) == 9
    assert frame["identity"].is_unique
    assert set(metrics.NAMES) < set(frame.columns)
    clean = frame[frame["kind"] == "none"].iloc[0]
    record = made.records()[clean["identity"]]
    found: Predictions = made.predictions(record)
    assert clean["accuracy"] == metrics.correct(found.labels, found.logits).mean()
    assert (clean["model"], clean["n"], clean["seed"]) == ("tiny", 30, 0)
    failed = frame[frame["status"] == "error"].iloc[0]
    assert failed["accuracy"] != failed["accuracy"], "an undefined number is NaN"
    packed = baseline.save(made, made.directory / "b.zip")
    assert benchharness.load_records(str(packed.path)).equals(frame)
