"""Predictions: the same bytes every time, and damaged ones are refused."""

from __future__ import annotations

import io
import random
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.store.predictions import Predictions
from tests.factories import Trap, predictions


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


def test_validation_volumes_are_kept_and_leave_no_trace_where_there_are_none() -> None:
    plain, val = predictions(), replace(predictions(4), extra={})
    with np.load(io.BytesIO(plain.to_bytes())) as archive:
        assert not [name for name in archive.files if name.startswith("val_")]
    content = replace(plain, validation=val).to_bytes()
    read = Predictions.from_bytes(content, source="p.npz")
    assert read.validation is not None
    assert read.validation.ids.tolist() == val.ids.tolist()
    assert np.array_equal(read.validation.logits, val.logits)
    assert set(read.extra) == set(plain.extra)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.asarray([0, 1, 2, 9])},
        {"logits": np.zeros((4, 2), np.float32)},
        {"logits": np.full((4, 3), np.nan, np.float32)},
        {"labels": np.asarray([0, 1, 2])},
    ],
)
def test_wrong_validation_volumes_are_refused(wrong: dict[str, Any]) -> None:
    val = replace(predictions(4), extra={}, **wrong)
    content = replace(predictions(), validation=val).to_bytes()
    with pytest.raises(BenchError, match=r"cannot read predictions p\.npz: the validation volumes"):
        Predictions.from_bytes(content, source="p.npz")
