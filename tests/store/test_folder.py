"""The folder of a store: nothing written is lost, whatever happens in between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.canonical import sha256
from benchharness.errors import BenchError
from benchharness.store import folder
from benchharness.store.folder import Store
from benchharness.store.opening import open_source
from benchharness.store.records import Record, Stored
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from collections.abc import Callable


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
        (tmp_path / "elsewhere").read_text(encoding="utf-8")


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
        f"{path} is not the file that was recorded (its SHA-256 differs). Type the same "
        "'bench run' again to measure that cell anew."
    )


def test_predictions_that_are_gone_are_named(store: Store) -> None:
    with pytest.raises(BenchError, match=r"cannot read predictions .*x\.npz: No such file"):
        store.predictions(record(predictions=Stored(path="predictions/x.npz", sha256="0")))


def test_a_failed_cell_has_no_predictions(store: Store) -> None:
    with pytest.raises(BenchError, match="failed and has no predictions"):
        store.predictions(record(predictions=None))


# Which cells need not run again.


def of_two(store: Store) -> tuple[Record, Path]:
    """Two measured cells and a failed one in a store; the first, and its predictions."""
    with store.writing():
        for seed in (0, 1):
            of = cell(perturbation={"seed": seed})
            store.append(record(of, predictions=store.save_predictions(of, predictions())))
        store.append(record(cell(perturbation={"seed": 2}), status="error", predictions=None))
    return other(0), store.directory / f"predictions/{other(0).identity}.npz"


def test_measured_cells_are_recorded_and_failed_ones_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    assert not store.recorded().sound
    of_two(store)
    for reader in (store, Store(store.directory)):
        found = reader.recorded()
        assert found.sound == {other(0).identity, other(1).identity}
        assert not found.damaged


def flipped(path: Path) -> None:
    """Change one bit, and set the times back."""
    time.sleep(0.02)  # File systems count time in steps of some milliseconds.
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "flipped": flipped,
    "replaced": lambda path: (path.unlink(), path.write_bytes(predictions(7).to_bytes())),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("again", [False, True], ids=["same object", "another"])
def test_a_cell_whose_predictions_are_damaged_is_not_recorded(
    tmp_path: Path, damage: str, again: bool
) -> None:
    store = Store(tmp_path / "out")
    of, path = of_two(store)
    store.recorded()
    DAMAGES[damage](path)
    found = (Store(store.directory) if again else store).recorded()
    assert found.sound == {other(1).identity}
    assert list(found.damaged) == [of.identity]
    assert "\n" not in found.damaged[of.identity]
    assert str(path) in found.damaged[of.identity]


def test_predictions_outside_the_store_are_not_recorded(store: Store) -> None:
    (store.directory.parent / "x.npz").write_bytes(b"x")
    with store.writing():
        store.append(record(predictions=Stored(path="../x.npz", sha256=sha256(b"x"))))
    assert "outside its store" in store.recorded().damaged[cell().identity]


def test_predictions_are_hashed_again_only_when_their_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "out")
    _, path = of_two(store)
    reader = Store(store.directory)
    reader.recorded()
    monkeypatch.setattr(folder, "sha256", lambda _: pytest.fail("hashed twice"))
    assert len(reader.recorded().sound) == 2
    assert len(store.recorded().sound) == 2, "what was just written needs no look"
    monkeypatch.undo()
    path.touch()
    assert len(reader.recorded().sound) == 2


# A disk that takes no more.


class Full:
    """A raw file on a disk that is full after `room` bytes."""

    def __init__(self, stream: Any, room: int) -> None:
        self.stream, self.room = stream, room

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, content: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.stream.write(content[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 700])
def test_a_full_disk_leaves_no_part_of_a_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    before = store.lines.read_bytes()
    original = Path.open
    opened = lambda path, *a, **k: (  # noqa: E731
        Full(original(path, *a, **k), room) if path == store.lines else original(path, *a, **k)
    )

    def append() -> None:
        with store.writing(), monkeypatch.context() as patched:
            patched.setattr(Path, "open", opened)
            store.append(other(2))

    with pytest.raises(BenchError) as caught:
        append()
    assert str(caught.value) == (
        f"cannot write to {store.directory}: No space left on device. Everything recorded so far "
        "is kept: free some space and run the same command again."
    )
    assert store.lines.read_bytes() == before
    with store.writing():
        store.append(other(2))
    assert len(Store(store.directory).records()) == 3


@pytest.mark.parametrize("moment", ["write", "fsync"])
def test_a_full_disk_leaves_no_part_of_predictions(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save() -> None:
        with store.writing():
            monkeypatch.setattr("benchharness.disk.os.fsync", full)
            if moment == "write":
                monkeypatch.setattr("pathlib.Path.open", full)
            store.save_predictions(cell(), predictions())

    with pytest.raises(BenchError, match="No space left on device"):
        save()
    monkeypatch.undo()
    assert list((store.directory / "predictions").iterdir()) == []


# Locks that a file system does not have.


@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP", "ENOTSUP", "ENOSYS"])
def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    def refuse(*_: Any) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(BenchError) as caught, Store(tmp_path / "out").writing():
        pytest.fail("there is no lock")
    assert str(caught.value) == (
        f"the file system of {tmp_path / 'out'} has no file locks, without which two runs at once "
        "would damage each other's records. Pass an --out on a local disk and copy that folder "
        "afterwards."
    )


@pytest.mark.parametrize("name", ["n" * 256, "ä" * 200, "nul\0"])
def test_a_name_that_no_file_system_takes_is_one_line(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    for attempt in (lambda: store.writing().__enter__(), store.recorded, lambda: opened(store)):
        with pytest.raises(BenchError) as caught:
            attempt()
        assert "\n" not in str(caught.value)


def opened(store: Store) -> None:
    open_source(store.directory).records()
