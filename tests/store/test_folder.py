"""The folder of a store: nothing written is lost, whatever happens in between."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.store.folder import Store
from benchharness.store.records import Record, Stored
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from pathlib import Path


def other(number: int) -> Record:
    """A record of another cell."""
    return record(cell(perturbation={"seed": number}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two records."""
    made = Store(tmp_path / "out")
    with made.writing():
        made.append(other(0))
        made.append(other(1))
    return made


def test_reading_makes_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "absent").records() == {}
    assert not (tmp_path / "absent").exists()


def test_records_come_in_order_of_first_appearance_and_the_newest_wins(store: Store) -> None:
    newest = replace(other(0), metrics={"accuracy": 1.0, "auc": 1.0}, undefined={})
    with store.writing():
        store.append(newest)
    found = store.records()
    assert list(found) == [other(0).identity, other(1).identity]
    assert found[newest.identity] == newest


def test_a_torn_last_line_is_dropped_by_readers_and_cleared_by_the_next_writer(
    store: Store,
) -> None:
    whole = store.lines.read_bytes()
    with store.lines.open("ab") as stream:
        stream.write(other(2).to_line().encode())
    assert list(store.records()) == [other(0).identity, other(1).identity]
    assert store.lines.read_bytes() != whole
    with store.writing():
        assert store.lines.read_bytes() == whole


def test_a_kill_at_any_byte_of_an_append_loses_that_record_at_most(store: Store) -> None:
    before = store.lines.read_bytes()
    line = other(2).to_line().encode() + b"\n"
    for cut in range(len(line) + 1):
        store.lines.write_bytes(before + line[:cut])
        assert len(store.lines.read_bytes()) == len(before) + cut
        store._clear_unfinished()
        assert store.lines.read_bytes() == before + (line if cut == len(line) else b"")
    store.lines.write_bytes(before + line[:-1])
    with store.writing():
        store.append(other(2))
    assert list(store.records()) == [other(number).identity for number in range(3)]


def test_a_first_line_cut_short_leaves_an_empty_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.lines.write_bytes(other(0).to_line().encode()[:50])
    assert store.records() == {}
    with store.writing():
        store.append(other(0))
    assert list(store.records()) == [other(0).identity]


@pytest.mark.parametrize("damage", [b"{}\n", b"\n", b"\xff\n", b"\x00\x00\n"])
def test_a_damaged_line_in_the_middle_is_named(store: Store, damage: bytes) -> None:
    first, second, _ = store.lines.read_bytes().split(b"\n")
    store.lines.write_bytes(first + b"\n" + damage + second + b"\n")
    with pytest.raises(BenchError, match=r"records\.jsonl, line 2: "):
        store.records()


def test_records_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").mkdir()
    with pytest.raises(BenchError, match=r"^cannot read records .*: Is a directory\.$"):
        Store(tmp_path).records()


HOLDER = """
import sys
from pathlib import Path
from benchharness.store.folder import Store
with Store(Path(sys.argv[1])).writing():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(BenchError) as caught, store.writing():
                pytest.fail("two writers at once")
            assert str(caught.value) == (
                f"another run is writing to {store.directory}. Wait for it, or pass another --out."
            )
            assert len(store.records()) == 2, "reading needs no lock"
        finally:
            holder.kill()
    with store.writing():
        store.append(other(2))
    assert len(store.records()) == 3


@pytest.mark.parametrize("place", ["", "deeper"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    directory = tmp_path / "file" / place
    with pytest.raises(BenchError) as caught, Store(directory).writing():
        pytest.fail("there is no such folder")
    message = str(caught.value)
    assert message.startswith(f"cannot write to {directory}: ")
    assert message.endswith(" Pass another --out.")


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(BenchError) as caught, Store(tmp_path).writing():
        pytest.fail("not writable")
    assert str(caught.value) == (
        f"cannot write to {tmp_path}: Permission denied. Pass another --out."
    )


def test_an_error_of_the_run_itself_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), Store(tmp_path / "out").writing():
        (tmp_path / "elsewhere").read_text()


def stored(store: Store) -> Record:
    """A record whose predictions are in the store."""
    with store.writing():
        return record(predictions=store.save_predictions(cell(), predictions()))


def test_predictions_survive_the_round_trip(store: Store) -> None:
    read, original = store.predictions(stored(store)), predictions()
    assert read.ids.tolist() == original.ids.tolist()
    assert read.labels.tolist() == original.labels.tolist()
    assert np.array_equal(read.logits, original.logits)
    assert np.array_equal(read.extra["norm"], original.extra["norm"])
    assert [p.name for p in (store.directory / "predictions").iterdir()] == [
        f"{cell().identity}.npz"
    ]


def test_predictions_that_changed_are_refused(store: Store) -> None:
    of = stored(store)
    path = store.directory / f"predictions/{of.identity}.npz"
    path.write_bytes(replace(predictions(), logits=predictions().logits + 1).to_bytes())
    with pytest.raises(BenchError) as caught:
        store.predictions(of)
    assert str(caught.value) == (
        f"{path} is not the file that was recorded (its SHA-256 differs). Remove it and its "
        "record, then run again."
    )


def test_predictions_that_are_gone_are_named(store: Store) -> None:
    with pytest.raises(BenchError, match=r"cannot read predictions .*x\.npz: No such file"):
        store.predictions(record(predictions=Stored(path="predictions/x.npz", sha256="0")))


def test_a_failed_cell_has_no_predictions(store: Store) -> None:
    with pytest.raises(BenchError, match="failed and has no predictions"):
        store.predictions(record(predictions=None))
