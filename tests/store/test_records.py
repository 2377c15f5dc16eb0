"""Records and their store: what is written is read back, whatever happens in between."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.store import schema
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions
from benchharness.store.records import Check, Record, Stored
from benchharness.store.schema import SCHEMA
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


def edited(**changes: Any) -> str:
    """The line of an ordinary record with some members replaced."""
    return json.dumps(json.loads(record().to_line()) | changes)


def refusal(line: str) -> str:
    with pytest.raises(BenchError) as caught:
        Record.from_line(line)
    return str(caught.value)


# A line.


@pytest.mark.parametrize(
    "original",
    [
        record(),
        record(cell(checkpoint={"recipe": None, "seed": None}), cost=None),
        record(status="error", metrics={}, predictions=None, error='NaN\n"quoted" \u2028 \ud800'),
        record(metrics={"accuracy": 1, "auc": 1e-300, "nll": -0.0}),
    ],
)
def test_a_record_survives_the_round_trip(original: Record) -> None:
    line = original.to_line()
    assert "\n" not in line
    assert line.isascii()
    read = Record.from_line(line)
    assert read == original
    assert read.identity == original.identity
    assert read.to_line() == line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_never_written(value: float) -> None:
    for broken in (
        record(metrics={"auc": value}),
        record(facts={"deep": [{"x": value}]}),
        record(certificate=(Check(name="c", verdict="passed", value=value),)),
    ):
        with pytest.raises(ValueError, match="not JSON compliant"):
            broken.to_line()


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_never_read(token: str) -> None:
    assert token in refusal(record().to_line().replace('"accuracy":0.5', f'"accuracy":{token}'))


def test_a_failed_check_makes_the_number_suspect() -> None:
    assert not record().suspect
    assert record(certificate=(Check(name="c", verdict="failed", reason="r"),)).suspect


def test_a_newer_schema_says_what_to_do() -> None:
    assert refusal(edited(schema=SCHEMA + 1, future={"x": 1})) == (
        f"the store has schema {SCHEMA + 1}, this benchharness reads up to {SCHEMA}. "
        "Upgrade with 'pip install --upgrade benchharness'."
    )


@pytest.mark.parametrize("schema", [None, "1", True, 0, -1, 1.5])
def test_a_schema_that_is_none(schema: Any) -> None:
    assert refusal(edited(schema=schema)) == (
        f"not a record: its schema is {schema!r}, expected {SCHEMA}."
    )


def test_an_edited_cell_is_refused() -> None:
    line = record().to_line().replace('"severity":0.03137254901960784', '"severity":0.5')
    message = refusal(line)
    assert message.startswith(f"record {record().identity[:12]} does not match its own cell (")
    assert message.endswith("the line was edited. Remove it and run again.")


WRONG: dict[str, dict[str, Any]] = {
    "status": {"status": "fine"},
    "metrics": {"metrics": [0.5]},
    "metrics of text": {"metrics": {"auc": "0.5"}},
    "metrics of truth": {"metrics": {"auc": True}},
    "undefined": {"undefined": {"auc": None}},
    "certificate": {"certificate": {"name": "x"}},
    "verdict": {"certificate": [{"name": "c", "verdict": "maybe"}]},
    "facts": {"facts": None},
    "cost": {"cost": []},
    "cost of text": {
        "cost": {
            "parameters": "10",
            "flops": 1,
            "latency_ms": 1,
            "latency_batch": 1,
            "peak_memory_mib": None,
        }
    },
    "predictions": {"predictions": {"path": "x"}},
    "predictions of numbers": {"predictions": {"path": 1, "sha256": 2}},
    "provenance": {"provenance": "cpu"},
    "error": {"error": ["x"]},
    "cell": {"cell": None},
    "identity": {"identity": 3},
    "unknown member": {"surplus": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_members_of_the_wrong_kind_are_refused(name: str) -> None:
    message = refusal(edited(**WRONG[name]))
    assert message.startswith((f"not a record of schema {SCHEMA}: ", "record 3 does not match"))


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("model", "name", 3),
        ("dataset", "count", "10"),
        ("dataset", "total", None),
        ("dataset", "modality", ["ct"]),
        ("perturbation", "family", None),
        ("checkpoint", "seed", "0"),
    ],
)
def test_fields_outside_the_identity_are_checked_too(part: str, field: str, value: Any) -> None:
    payload = json.loads(record().to_line())
    payload["cell"][part][field] = value
    message = refusal(json.dumps(payload))
    assert message == (
        f"not a record of schema {SCHEMA}: TypeError: record.cell.{part}.{field} is {value!r}."
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "3",
        '"schema"',
        "{}",
        '{"schema":1}',
        "[" * 100_000,
        '{"schema":1,"cell":' * 20_000,
        '{"schema":' + "9" * 5000 + "}",
        '{"schema":1,"schema":1}',
        "\x00",
    ],
)
def test_lines_that_are_no_records(line: str) -> None:
    assert refusal(line).startswith("not a record")


def test_a_key_that_stands_twice_is_refused() -> None:
    line = record().to_line().replace('"auc":null', '"auc":null,"auc":1.0')
    assert refusal(line) == "not a record: an object has a key twice."


ORDINARY = record().to_line()
SCRAPS: list[Any] = [None, True, -1, 10**40, 1e308, "", "x", [], {}, [[]], {"name": 1}, "\ud800"]


def mutated(draws: random.Random) -> str:
    """The line of a record after some damage to its text or to its values."""
    line = ORDINARY
    for _ in range(draws.randint(1, 3)):
        place = draws.randrange(len(line))
        match draws.randrange(5):
            case 0:
                line = line[:place] + chr(draws.randrange(1, 300)) + line[place + 1 :]
            case 1:
                line = line[:place] + line[place + draws.randrange(20) :]
            case 2:
                line = line[:place]
            case 3:
                line = line[:place] + line[draws.randrange(len(line)) :]
            case 4:
                return with_a_scrap(draws)
        if not line:
            break
    return line


def with_a_scrap(draws: random.Random) -> str:
    """A record in which one value anywhere was replaced or removed."""
    payload: Any = json.loads(ORDINARY)
    here = payload
    while True:
        key = draws.choice(list(here) if isinstance(here, dict) else range(len(here)))
        inner = here[key]
        if isinstance(inner, dict | list) and inner and draws.random() < 0.8:
            here = inner
            continue
        if draws.random() < 0.2:
            del here[key]
        else:
            here[key] = draws.choice(SCRAPS)
        return json.dumps(payload)


def test_a_damaged_line_is_a_record_or_an_error_and_nothing_else() -> None:
    draws = random.Random(0)
    refusals = []
    for _ in range(2500):
        try:
            read = Record.from_line(mutated(draws))
        except BenchError as error:
            refusals.append(str(error))
        else:
            assert Record.from_line(read.to_line()) == read
    assert len(refusals) > 1700
    known = ("not a record", "record ", "the store has schema")
    assert all(refusal.startswith(known) for refusal in refusals)


# The store.


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


# Predictions.


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


def test_the_same_predictions_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    original = predictions()
    shuffled = replace(original, extra={"b": original.extra["norm"], "a": original.extra["norm"]})
    sorted_ = replace(original, extra={"a": original.extra["norm"], "b": original.extra["norm"]})
    now = shuffled.to_bytes()
    later = time.time() + 10_000_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert sorted_.to_bytes() == now
    assert replace(original, logits=original.logits + 1).to_bytes() != original.to_bytes()


def test_patients_are_kept_where_they_are_known_and_leave_no_trace_where_not() -> None:
    plain = predictions()
    with np.load(io.BytesIO(plain.to_bytes())) as archive:
        assert "patients" not in archive.files
    assert Predictions.from_bytes(plain.to_bytes(), source="p.npz").patients is None
    names = np.asarray([f"patient {i // 2}" for i in range(6)])
    content = replace(plain, patients=names).to_bytes()
    read = Predictions.from_bytes(content, source="p.npz")
    assert read.patients is not None
    assert read.patients.tolist() == names.tolist()
    assert set(read.extra) == set(plain.extra)
    for wrong in (names[:3], np.arange(6)):
        with pytest.raises(BenchError, match="one patient per volume if any"):
            Predictions.from_bytes(replace(plain, patients=wrong).to_bytes(), source="p.npz")


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


class Trap:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def ordinary() -> dict[str, Any]:
    made = predictions()
    return {"ids": made.ids, "labels": made.labels, "logits": made.logits}


def test_pickled_arrays_are_refused_without_running_them() -> None:
    content = archive(**ordinary(), extra_norm=np.array([Trap()], dtype=object))
    with pytest.raises(BenchError, match=r"cannot read predictions p\.npz: Object arrays cannot"):
        Predictions.from_bytes(content, source="p.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.asarray(["a"])},
        {"labels": np.zeros(6)},
        {"logits": np.zeros(6, dtype=np.float32)},
        {"logits": np.zeros((6, 3))},
        {"ids": np.arange(6)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match=r"p\.npz holds ids .*; expected \(N,\), \(N,\) and"):
        Predictions.from_bytes(archive(**(ordinary() | changes)), source="p.npz")


def test_damaged_archives_are_an_error_and_nothing_else() -> None:
    whole = archive(**ordinary())
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    contents = [b"", b"PK", buffer.getvalue(), archive(ids=np.zeros(3)), whole[:100]]
    draws = random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(draws.randint(1, 4)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        contents.append(bytes(damaged))
    refusals = []
    for content in contents:
        try:
            Predictions.from_bytes(content, source="p.npz")
        except BenchError as error:
            refusals.append(str(error))
    assert len(refusals) > 300
    known = ("cannot read predictions p.npz: ", "p.npz holds")
    assert all(refusal.startswith(known) and "\n" not in refusal for refusal in refusals)


# Migrations.


def test_every_older_schema_has_its_step() -> None:
    assert set(schema.MIGRATIONS) == set(range(1, SCHEMA))


def test_an_older_line_is_read_through_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"facts": payload.pop("findings")}

    def add(payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"error": None}

    monkeypatch.setattr(schema, "SCHEMA", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: rename, 2: add})
    old = json.loads(record().to_line())
    old["findings"] = old.pop("facts")
    del old["error"]
    assert Record.from_line(json.dumps(old)) == record(schema=3)
    middle = old | {"schema": 2, "facts": old["findings"]}
    del middle["findings"]
    assert Record.from_line(json.dumps(middle)) == record(schema=3)
    broken = dict(old)
    del broken["findings"]
    assert refusal(json.dumps(broken)) == "not a record of schema 1: KeyError: 'findings'."
