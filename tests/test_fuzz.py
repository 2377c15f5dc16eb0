"""Damaged records and archives are read cleanly or refused clearly, and never run code."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.disk import UNPACKED_LIMIT
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions
from benchharness.store.records import Record
from tests.factories import Trap, predictions, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNTS = [1000, pytest.param(10_000, marks=pytest.mark.slow)]

LINE = record().to_line()
SCRAPS: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    10**40,
    10**400,
    1e308,
    -0.0,
    "",
    "x",
    "é\ud800\x00",
    [],
    {},
    [[[]]],
    {"name": 1},
    "a" * 10_000,
]
TOKENS = ["NaN", "Infinity", "-Infinity", "1e999", "nul", "1.", "'x'", "{", "]", '"', "\\u", "\x00"]


# Lines.


def _text(draws: random.Random) -> str:
    """Characters replaced, removed or repeated, or the line cut short."""
    line = LINE
    for _ in range(draws.randint(1, 4)):
        start, stop = sorted(draws.randrange(len(line) + 1) for _ in range(2))
        line = draws.choice(
            [
                line[:start],
                line[start:],
                line[:start] + line[stop:],
                line[:stop] + line[start:],
                line[:start] + chr(draws.randrange(1, 0x500)) + line[start + 1 :],
                line[:start] + draws.choice(TOKENS) + line[start:],
            ]
        )
        if not line:
            break
    return line


def _value(draws: random.Random) -> str:
    """Values anywhere replaced by others, or removed."""
    payload: Any = json.loads(LINE)
    for _ in range(draws.randint(1, 2)):
        here = payload
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draws.choice(keys)
            inner = here[key]
            if isinstance(inner, dict | list) and inner and draws.random() < 0.8:
                here = inner
                continue
            if draws.random() < 0.2:
                del here[key]
            else:
                here[key] = copy.deepcopy(draws.choice(SCRAPS))
            break
    return json.dumps(payload)


def _number(draws: random.Random) -> str:
    """A number replaced by a token that is no number."""
    places = [i for i, sign in enumerate(LINE) if sign == ":" and LINE[i + 1].isdigit()]
    start = draws.choice(places) + 1
    stop = min(i for i in range(start, len(LINE)) if LINE[i] in ",}")
    return LINE[:start] + draws.choice(TOKENS) + LINE[stop:]


def _doubled(draws: random.Random) -> str:
    """A key twice in one object."""
    places = [i for i, sign in enumerate(LINE) if sign == "{" and LINE[i + 1] == '"']
    start = draws.choice(places) + 1
    key = LINE[start : LINE.index(":", start)]
    return f"{LINE[:start]}{key}:{json.dumps(draws.choice(SCRAPS))},{LINE[start:]}"


def _deep(draws: random.Random) -> str:
    """Nested until a parser gives up."""
    sign = draws.choice(["[", '{"cell":', '{"schema":1,"facts":'])
    return LINE[: draws.randrange(len(LINE))] + sign * draws.randrange(10_000)


@pytest.mark.parametrize("count", [2500, COUNTS[1]])
def test_lines(count: int) -> None:
    draws = random.Random(0)
    mutations: list[Callable[[random.Random], str]] = [_text, _value, _number, _doubled]
    refused = 0
    for index in range(count):
        mutate = _deep if index % 50 == 0 else mutations[index % len(mutations)]
        line = mutate(draws)
        try:
            read = Record.from_line(line)
        except BenchError as error:
            refused += 1
            known = ("not a record", "record ", "the store has schema")
            if not str(error).startswith(known):
                pytest.fail(f"{line[:200]!r} is refused with {str(error)[:200]!r}")
            continue
        assert Record.from_line(read.to_line()) == read
        float(read.cell.perturbation.severity or 0)
    assert refused > 0.6 * count


# Archives.


@cache
def _members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(predictions().to_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def _npy(values: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=allow_pickle)
    return buffer.getvalue()


def _claiming(shape: str, descr: str = "'<f4'", body: bytes = b"") -> bytes:
    """An .npy file whose header does not fit its body."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def _cut(draws: random.Random) -> bytes:
    whole = predictions().to_bytes()
    return whole[: draws.randrange(len(whole))]


def _bytes(draws: random.Random) -> bytes:
    damaged = bytearray(predictions().to_bytes())
    for _ in range(draws.randint(1, 8)):
        damaged[draws.randrange(len(damaged))] = draws.randrange(256)
    return bytes(damaged)


def _inner_bytes(draws: random.Random) -> bytes:
    """Damage inside a member whose checksum is right."""
    members = dict(_members())
    name = draws.choice(sorted(members))
    damaged = bytearray(members[name])
    for _ in range(draws.randint(1, 6)):
        # Most often in the header, where a parser works.
        end = len(damaged) if draws.random() < 0.4 else 128
        damaged[draws.randrange(min(end, len(damaged)))] = draws.randrange(256)
    if draws.random() < 0.2:
        damaged = damaged[: draws.randrange(len(damaged))]
    return _packed(list((members | {name: bytes(damaged)}).items()))


def _wrong_type(draws: random.Random) -> bytes:
    """A member of another type or shape, or with values that are not finite."""
    made = predictions()
    infinite = made.logits.copy()
    infinite[draws.randrange(6), draws.randrange(3)] = draws.choice([np.nan, np.inf, -np.inf])
    values = draws.choice(
        [
            infinite,
            made.logits.astype(draws.choice(["f2", "f8", ">f4", "i4", "c8", "?", "S3", "U3"])),
            made.logits.T,
            made.logits[:, :1],
            made.labels - draws.choice([-5, 1, 2**40]),
            made.labels.astype(draws.choice(["i4", "u8", "f8"])),
            np.asarray(["a"] * draws.choice([5, 7])),
            np.zeros(draws.choice([(), (0,), (6, 0), (6, 1, 1)]), dtype=np.float32),
            np.zeros(6, dtype="M8[s]"),
            np.zeros(6, dtype=[("a", "f4")]),
        ]
    )
    name = draws.choice(["ids.npy", "labels.npy", "logits.npy", "extra_norm.npy"])
    return _packed(list((_members() | {name: _npy(values)}).items()))


def _doubled_member(draws: random.Random) -> bytes:
    members = list(_members().items())
    twice = draws.choice(members)
    with pytest.warns(UserWarning, match="Duplicate name"):
        return _packed([*members, (twice[0], draws.choice([twice[1], b"", b"x"]))])


def _pickled(draws: random.Random) -> bytes:
    name = draws.choice(["ids.npy", "labels.npy", "logits.npy", "extra_norm.npy"])
    traps = np.array([Trap()] * 6, dtype=object)
    content = draws.choice(
        [
            _npy(traps, allow_pickle=True),
            pickle.dumps(Trap()),
            _claiming("(6,)", "'|O'", pickle.dumps(Trap())),
            _claiming("(6,)", "[('a', '|O')]", pickle.dumps(Trap())),
        ]
    )
    return _packed(list((_members() | {name: content}).items()))


def _bomb(draws: random.Random) -> bytes:
    """A small archive whose directory or array header claims a large size."""
    kind = draws.randrange(4)
    members = dict(_members())
    if kind == 0:
        shape = draws.choice(["(10000000000,)", "(100000, 100000)", f"({2**62}, {2**62})"])
        members["logits.npy"] = _claiming(shape)
    elif kind == 1:
        members["logits.npy"] = _claiming(draws.choice(["(-6, 3)", "(6.0, 3)", "'x'", "(True,)"]))
    elif kind == 2:
        members["logits.npy"] = _claiming("(" * draws.randrange(1, 3000))
    content = bytearray(_packed(list(members.items())))
    if kind == 3:  # The directory claims a size that no memory holds.
        at = content.rindex(b"PK\x01\x02")
        content[at + 24 : at + 28] = struct.pack("<I", draws.choice([2**32 - 2, UNPACKED_LIMIT]))
    return bytes(content)


@pytest.mark.parametrize("count", COUNTS)
def test_archives(count: int) -> None:
    draws = random.Random(1)
    mutations = [_cut, _bytes, _inner_bytes, _wrong_type, _doubled_member, _pickled, _bomb]
    refused = 0
    for index in range(count):
        content = mutations[index % len(mutations)](draws)
        try:
            read = Predictions.from_bytes(content, source="p.npz")
        except BenchError as error:
            refused += 1
            if "p.npz" not in str(error) or "\n" in str(error):
                pytest.fail(f"an archive is refused with {str(error)[:200]!r}")
            continue
        assert len(read.ids.tolist()) == len(read.labels)
        if len(read.labels) and read.logits.shape[1] > 1:
            metrics.compute(read.labels, read.logits)
    assert refused > 0.7 * count


@pytest.mark.parametrize("name", ["_pickled", "_bomb", "_doubled_member"])
def test_what_is_hostile_is_always_refused(name: str) -> None:
    draws = random.Random(2)
    for _ in range(60):
        with pytest.raises(BenchError, match=r"p\.npz"):
            Predictions.from_bytes(globals()[name](draws), source="p.npz")


def test_a_real_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1 << 20
    monkeypatch.setattr("benchharness.disk.UNPACKED_LIMIT", limit)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    members = [(f"extra_{index}.npy", b"\x00" * (limit // 8)) for index in range(9)]
    content = _packed([*_members().items(), *members])
    assert len(content) < 10_000
    with pytest.raises(BenchError, match=rf"bytes unpacked, expected at most {limit}"):
        Predictions.from_bytes(content, source="p.npz")


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "predictions/../../secret"])
def test_a_record_cannot_name_a_file_outside_its_store(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    line = json.loads(LINE)
    line["predictions"]["path"] = path
    with pytest.raises(BenchError, match="names predictions outside its store"):
        Store(tmp_path / "a" / "b").predictions(Record.from_line(json.dumps(line)))
