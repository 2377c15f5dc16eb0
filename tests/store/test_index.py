"""The index saves time and never decides: whatever is in it, the lines are what is read."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchharness.canonical import sha256
from benchharness.errors import BenchError
from benchharness.store import index, merging, upkeep
from benchharness.store.entries import from_columns, to_columns
from benchharness.store.folder import Store
from benchharness.store.index import NAME
from benchharness.store.records import Record
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 7


def other(number: int, **changes: Any) -> Record:
    return record(cell(perturbation={"seed": number}), **changes)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is written from the third line on."""
    monkeypatch.setattr(index, "WORTH", 3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "out")
    with made.writing():
        for number in range(COUNT):
            of = other(number)
            made.append(replace(of, predictions=made.save_predictions(of.cell, predictions())))
    return made


def truth(of: Store) -> dict[str, Record]:
    """What the lines say, without an index."""
    lines = of.lines.read_bytes().decode().splitlines()
    return {found.identity: found for found in map(Record.from_line, lines)}


def parsed(of: Store, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many lines are parsed when a store is opened."""
    with monkeypatch.context() as patched:
        seen: list[str] = []
        original = Record.from_line
        patched.setattr(Record, "from_line", lambda line: seen.append(line) or original(line))
        Store(of.directory).records()
    return len(seen)


def holds(of: Store) -> bool:
    found = Store(of.directory).records()
    return list(found) == list(truth(of)) and dict(found) == truth(of)


def test_opening_parses_only_lines_that_the_index_lacks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parsed(store, monkeypatch) == COUNT % 3
    assert holds(store)
    monkeypatch.setattr(index, "WORTH", 1)
    Store(store.directory).records()
    assert parsed(store, monkeypatch) == 0
    assert holds(store)


def test_a_small_store_has_no_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing():
        store.append(other(0))
        store.append(other(1))
    Store(tmp_path).records()
    assert not (tmp_path / NAME).exists()


def test_only_what_is_wanted_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Store(store.directory).records(lambda entry: entry.seed == 0)
    assert len(found) == COUNT
    found = Store(store.directory).records(lambda entry: entry.kind == "none")
    monkeypatch.setattr(Record, "from_line", lambda _: pytest.fail("a line was read"))
    assert len(found) == len(list(found.values())) == 0


def test_the_newest_line_of_an_identity_wins_wherever_it_is(store: Store) -> None:
    for number in (0, 5):
        with Store(store.directory).writing():
            store.append(other(number, metrics={"accuracy": 1.0, "auc": 1.0}, undefined={}))
        assert holds(store)
    assert list(store.records()) == [other(number).identity for number in range(COUNT)]


def middle(of: Store) -> bytes:
    """The lines with one digit of the second record changed: as long as before, and valid."""
    content = of.lines.read_bytes()
    at = content.index(b'"accuracy":0.5', content.index(b"\n"))
    return content[:at] + content[at:].replace(b'"accuracy":0.5', b'"accuracy":0.7', 1)


@pytest.mark.parametrize("way", ["in place", "times set back", "another file", "half", "longer"])
def test_lines_that_were_changed_by_hand_are_read_anew(store: Store, way: str) -> None:
    before = store.lines.stat()
    time.sleep(0.02)  # File systems count time in steps of some milliseconds.
    content = middle(store)
    if way == "half":
        content = b"".join(content.splitlines(keepends=True)[1:4])
    if way == "longer":
        content += other(99).to_line().encode() + b"\n"
    if way == "another file":
        store.lines.unlink()
    store.lines.write_bytes(content)
    if way == "times set back":
        os.utime(store.lines, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert holds(store)
    assert dict(store.records()) == truth(store), "the same object too"
    if way != "half":
        assert 0.7 in [found.metrics["accuracy"] for found in store.records().values()]


def test_a_line_that_was_damaged_is_named(store: Store) -> None:
    content = store.lines.read_bytes()
    store.lines.write_bytes(content.replace(b'"status":"ok"', b'"status":"no"', 1))
    with pytest.raises(BenchError, match=r"records\.jsonl, line 1: "):
        Store(store.directory).records()


def test_a_damaged_index_changes_nothing(store: Store) -> None:
    place = store.directory / NAME
    whole = place.read_bytes()
    draws = random.Random(0)
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(draws.randint(1, 3)):
            content[draws.randrange(len(content))] = draws.randrange(256)
        place.write_bytes(content[: draws.choice([len(content), draws.randrange(len(content))])])
        assert holds(store)


def forged(of: Store, **changes: Any) -> None:
    """Rewrite an index with a right digest."""
    place = of.directory / NAME
    head, _, content = place.read_bytes().split(b"\n", 2)
    body = json.loads(content) | changes
    content = json.dumps(body).encode()
    place.write_bytes(head + b"\n" + sha256(content).encode() + b"\n" + content)


def first_of(columns: list[Any]) -> list[Any]:
    """Columns that hide all records but the first."""
    return to_columns([*from_columns(columns).values()][:1])


@pytest.mark.parametrize(
    "changes",
    [
        {"end": -1},
        {"end": 1 << 40},
        {"end": "x"},
        {"count": None},
        {"stamp": []},
        {"stamp": 7},
        {"stamp": [0, 0, 0, 0]},
        {"entries": []},
        {"entries": [[1], [2]]},
        {"entries": {"a": 1}},
        {"entries": None},
    ],
    ids=str,
)
def test_an_index_that_is_none_changes_nothing(store: Store, changes: dict[str, Any]) -> None:
    forged(store, **changes)
    assert holds(store)


def test_an_index_with_wrong_places_changes_nothing(store: Store) -> None:
    place = store.directory / NAME
    whole = place.read_bytes()
    body = json.loads(whole.split(b"\n", 2)[2])
    offsets = body["entries"][1]
    for wrong in (offsets[::-1], [0] * len(offsets), [1 << 40] * len(offsets)):
        place.write_bytes(whole)
        body["entries"][1] = wrong
        forged(store, entries=body["entries"])
        assert holds(store)


def test_the_index_of_another_store_is_not_believed(store: Store, tmp_path: Path) -> None:
    """A copied folder may come with an index that hides records: its lines are read once."""
    copied = tmp_path / "copied"
    shutil.copytree(store.directory, copied)
    place = copied / NAME
    body = json.loads(place.read_bytes().split(b"\n", 2)[2])
    forged(Store(copied), entries=first_of(body["entries"]))
    assert holds(Store(copied))


@pytest.mark.parametrize("what", ["folder", "pipe", "unwritable"])
def test_an_index_that_cannot_be_used_is_done_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place = store.directory / NAME
    place.unlink()
    if what == "folder":
        place.mkdir()
    if what == "pipe":
        os.mkfifo(place)
    if what == "unwritable":

        def refuse(*_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(index, "write_atomically", refuse)
    assert holds(store)
    with store.writing():
        store.append(other(99))
    assert holds(store)


def test_checked_predictions_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH", 1)
    (store.directory / NAME).unlink()
    assert len(Store(store.directory).recorded().sound) == COUNT
    monkeypatch.setattr("benchharness.store.folder.sha256", lambda _: pytest.fail("hashed again"))
    assert len(Store(store.directory).recorded().sound) == COUNT


def test_a_kill_while_the_index_is_written_leaves_the_old_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (store.directory / NAME).read_bytes()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("benchharness.disk.os.fsync", killed)
        patched.setattr(index, "WORTH", 1)
        with pytest.raises(KeyboardInterrupt):
            Store(store.directory).records()
    assert (store.directory / NAME).read_bytes() == before
    assert holds(store)


def test_verify_and_merge_read_the_lines_and_not_the_index(store: Store, tmp_path: Path) -> None:
    place = store.directory / NAME
    body = json.loads(place.read_bytes().split(b"\n", 2)[2])
    forged(store, entries=first_of(body["entries"]))
    assert upkeep.verify(store.directory).records == COUNT
    (store.directory / NAME).write_bytes(b"nonsense")
    assert merging.merge([store.directory], tmp_path / "joined").records == COUNT
    assert holds(Store(tmp_path / "joined"))
