"""Records: what is written as a line is read back, and anything else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchharness.errors import BenchError
from benchharness.store.records import Check, Record
from benchharness.store.schema import SCHEMA
from tests.factories import cell, record


def edited(**changes: Any) -> str:
    """The line of an ordinary record with some members replaced."""
    return json.dumps(json.loads(record().to_line()) | changes)


def refusal(line: str) -> str:
    with pytest.raises(BenchError) as caught:
        Record.from_line(line)
    return str(caught.value)


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
