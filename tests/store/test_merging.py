"""A merge writes its folder whole or not at all, and follows no link out of a store."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchharness.errors import BenchError
from benchharness.store import merging, upkeep
from benchharness.store.cards import CARD, WEIGHTS
from benchharness.store.folder import Store
from tests.factories import small_matrix, store_of, tiny
from tests.store.test_cards import card, placed

if TYPE_CHECKING:
    from collections.abc import Callable


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but its lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two stores without a cell or checkpoint in common."""
    one = store_of(tmp_path / "one", small_matrix(n=30))
    two = store_of(tmp_path / "two", small_matrix(n=30, model="b", weights="b"))
    placed(one.directory, card())
    placed(two.directory, card(b"two", seed=1), b"two")
    return [one.directory, two.directory]


@pytest.fixture(params=["new", "existing"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where to merge: no folder yet, or a store with a cell and a checkpoint."""
    place = tmp_path / "joined" / "out"
    if request.param == "existing":
        store_of(place, [tiny(n=20, model="c", weights="c")])
        placed(place, card(b"three", seed=3), b"three")
    return place


def untouched(out: Path, before: dict[str, bytes]) -> bool:
    """Whether a folder is as it was, with nothing left beside it or in it."""
    if not before:
        return not out.exists() and not list(out.parent.glob(".*"))
    return contents(out) == before and not list(out.glob("*merging*"))


def test_a_merge_joins_everything(sources: list[Path], out: Path) -> None:
    before = Store(out).records()
    merged = merging.merge(sources, out)
    assert (merged.added, merged.checkpoints, merged.skipped) == (16, 2, ())
    found = upkeep.verify(out)
    assert (found.problems, found.notes) == ((), ())
    assert found.records == merged.records == 16 + len(before)
    assert found.checkpoints == len(list(out.rglob(CARD)))
    assert not [path for path in out.parent.rglob("*") if "merging" in path.name]
    with Store(out).writing():
        pass


def unreadable(sources: list[Path], _: pytest.MonkeyPatch) -> None:
    max((sources[1] / "predictions").iterdir()).write_bytes(b"damaged")


def no_weights(sources: list[Path], patched: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, _: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    patched.setattr(merging.shutil, "copy2", refuse)


def full_after(count: int) -> Callable[[list[Path], pytest.MonkeyPatch], None]:
    def fail(_: list[Path], patched: pytest.MonkeyPatch) -> None:
        calls = iter(range(count))
        original = os.fsync

        def fsync(number: int) -> None:
            if next(calls, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            original(number)

        patched.setattr(os, "fsync", fsync)

    return fail


def at_a_move(count: int) -> Callable[[list[Path], pytest.MonkeyPatch], None]:
    def fail(_: list[Path], patched: pytest.MonkeyPatch) -> None:
        calls = iter(range(count))
        original = Path.replace

        def replace(self: Path, place: Path) -> Path:
            if not self.name.endswith(".partial") and next(calls, None) is None:
                raise OSError(errno.EIO, "Input/output error")
            return original(self, place)

        patched.setattr(Path, "replace", replace)

    return fail


FAILURES = {
    "a damaged source": unreadable,
    "weights that cannot be read": no_weights,
    **{f"a disk full after {n} files": full_after(n) for n in (0, 1, 5, 16, 17, 18)},
    "a fault while files get their names": at_a_move(0),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_merge_that_fails_leaves_no_trace(
    sources: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    before = contents(out)
    with monkeypatch.context() as patched:
        FAILURES[failure](sources, patched)
        with pytest.raises(BenchError) as caught:
            merging.merge(sources, out)
    assert "\n" not in str(caught.value)
    assert "merging" not in str(caught.value).replace("test_a_merge", "")
    assert untouched(out, before)


@pytest.mark.parametrize("moves", range(1, 19))
def test_a_fault_between_two_moves_is_undone(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    out = store_of(tmp_path / "out", [tiny(n=20, model="c", weights="c")]).directory
    before = contents(out)
    with monkeypatch.context() as patched:
        at_a_move(moves)(sources, patched)
        with pytest.raises(BenchError):
            merging.merge(sources, out)
    assert untouched(out, before)


MERGE = """
import sys, time
from pathlib import Path
from benchharness.store import folder, merging
write = folder.write_atomically
def slow(path, content):
    write(path, content)
    print("wrote", flush=True)
    time.sleep(0.02)
folder.write_atomically = merging.write_atomically = slow
merging.merge([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]))
"""


@pytest.mark.parametrize("written", [1, 9, 16, 17])
def test_a_merge_that_is_killed_is_done_again(sources: list[Path], out: Path, written: int) -> None:
    before = contents(out)
    arguments = [sys.executable, "-c", MERGE, str(out), *map(str, sources)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(written):
            assert process.stdout.readline() == "wrote\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    if before:
        assert (out / "records.jsonl").read_bytes() == before["records.jsonl"]
    else:
        assert not out.exists()
    merged = merging.merge(sources, out)
    assert (merged.added, merged.checkpoints) == (16, 2)
    assert upkeep.verify(out).problems == ()
    assert not [path for path in out.parent.rglob("*") if "merging" in path.name]


def test_the_next_writer_removes_what_a_killed_merge_left(tmp_path: Path) -> None:
    store = store_of(tmp_path, [tiny()])
    (tmp_path / ".merging" / "predictions").mkdir(parents=True)
    with store.writing():
        assert not (tmp_path / ".merging").exists()


@pytest.mark.parametrize("name", ["n" * 256, "file/below"])
def test_a_folder_that_cannot_be_made(sources: list[Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError) as caught:
        merging.merge(sources, tmp_path / name)
    assert "\n" not in str(caught.value)


# Links.


SECRET = b"somebody else's"


def linked_file(folder: Path, outside: Path) -> None:
    (folder / "notes.txt").symlink_to(outside / "secret")


def linked_weights(folder: Path, outside: Path) -> None:
    (outside / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(outside / WEIGHTS)


def linked_folder(folder: Path, outside: Path) -> None:
    folder.rename(outside / "moved")
    folder.symlink_to(outside / "moved")


def linked_parent(folder: Path, outside: Path) -> None:
    folder.parent.rename(outside / "moved")
    folder.parent.symlink_to(outside / "moved")


LINKS = [linked_file, linked_weights, linked_folder, linked_parent]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("existing", [False, True])
def test_a_link_out_of_a_store_is_not_followed(
    tmp_path: Path, link: Callable[[Path, Path], None], existing: bool
) -> None:
    source = store_of(tmp_path / "source", [tiny()]).directory
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    link(placed(source, card()), tmp_path / "outside")
    out = tmp_path / "out"
    if existing:
        store_of(out, [tiny(model="c", weights="c")])
    merged = merging.merge([source], out)
    assert (merged.added, merged.checkpoints, len(merged.skipped)) == (1, 0, 1)
    assert "leads out of its store" in merged.skipped[0]
    assert SECRET not in contents(out).values()
    assert not list(out.rglob(WEIGHTS))


def test_nothing_is_written_through_a_link_out_of_the_target(tmp_path: Path) -> None:
    source = store_of(tmp_path / "source", [tiny()]).directory
    placed(source, card())
    out = store_of(tmp_path / "out", [tiny(model="c", weights="c")]).directory
    (tmp_path / "outside").mkdir()
    (out / "checkpoints").symlink_to(tmp_path / "outside")
    merged = merging.merge([source], out)
    assert (merged.added, merged.checkpoints, len(merged.skipped)) == (1, 0, 1)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_within_a_store_is_copied_as_its_file(tmp_path: Path) -> None:
    source = store_of(tmp_path / "source", [tiny()]).directory
    folder = placed(source, card())
    (folder / WEIGHTS).rename(source / "w")
    (folder / WEIGHTS).symlink_to(source / "w")
    assert merging.merge([source], tmp_path / "out").checkpoints == 1
    (copied,) = (tmp_path / "out").rglob(WEIGHTS)
    assert not copied.is_symlink()
    assert copied.read_bytes() == b"weights"


def test_a_pipe_among_weights_is_not_waited_for(tmp_path: Path) -> None:
    source = store_of(tmp_path / "source", [tiny()]).directory
    os.mkfifo(placed(source, card()) / "pipe")
    assert merging.merge([source], tmp_path / "out").checkpoints == 1


def test_two_merges_into_one_new_folder_at_once(sources: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    staging = tmp_path / ".out.merging"
    with (
        Store(staging).writing(),
        pytest.raises(BenchError, match=f"^another run is writing to {out}. Wait for it"),
    ):
        merging.merge(sources, out)
    assert (staging / ".lock").exists(), "it is the other's"
    assert merging.merge(sources, out).added == 16
