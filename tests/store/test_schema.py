"""Older schemas are read through every step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchharness.errors import BenchError
from benchharness.store import schema
from benchharness.store.records import Record
from benchharness.store.schema import SCHEMA
from tests.factories import record


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
    with pytest.raises(BenchError, match=r"^not a record of schema 1: KeyError: 'findings'\.$"):
        Record.from_line(json.dumps(broken))
