"""Baselines: small, exact, the same bytes every time, and refused when damaged."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store import baseline
from benchharness.store.folder import Store
from benchharness.store.opening import open_source
from tests.factories import small_matrix, store_of, tiny

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, baseline.Baseline]:
    folder = tmp_path_factory.mktemp("baseline")
    cells = [*small_matrix(n=40), tiny(perturbation="pgd", severity=0.5, n=40, error="NaN")]
    made = store_of(folder / "store", [*cells, tiny(classes=3, weights="b", seed=1, n=20)])
    return made, baseline.save(made, folder / "deep" / "baseline.zip")


def test_every_record_and_metric_is_reproduced_exactly(
    saved: tuple[Store, baseline.Baseline],
) -> None:
    original, packed = saved
    assert packed.records() == original.records()
    for record in original.records().values():
        if record.status == "error":
            with pytest.raises(BenchError, match="holds no predictions of"):
                packed.predictions(record)
            continue
        mine, theirs = original.predictions(record), packed.predictions(record)
        assert mine.ids.tolist() == theirs.ids.tolist()
        assert mine.logits.tobytes() == theirs.logits.tobytes()
        assert metrics.compute(mine.labels, mine.logits) == metrics.compute(
            theirs.labels, theirs.logits
        )


def test_the_same_store_gives_the_same_bytes(saved: tuple[Store, baseline.Baseline]) -> None:
    original, packed = saved
    content = baseline.pack(original)
    assert content == packed.path.read_bytes()
    assert baseline.pack(packed) == content, "a baseline can be saved again"


def test_the_quickstart_stays_small() -> None:
    content = baseline.pack(Store(QUICKSTART))
    assert len(content) < 1_000_000
    assert len(content) < 150_000


def test_its_parts_are_plain(saved: tuple[Store, baseline.Baseline]) -> None:
    original, packed = saved
    with zipfile.ZipFile(packed.path) as archive:
        names = archive.namelist()
        header = json.loads(archive.read("baseline.json"))
        assert archive.read("records.jsonl") == original.lines.read_bytes()
        groups = json.loads(archive.read("volumes.json"))
        logits = np.load(io.BytesIO(archive.read("logits/0.npy")), allow_pickle=False)
    assert names == [
        "baseline.json",
        "records.jsonl",
        "volumes.json",
        "logits/0.npy",
        "logits/1.npy",
    ]
    assert (header["format"], header["schema"]) == ("benchharness baseline", 1)
    assert (len(groups[0]["ids"]), logits.shape) == (40, (8, 40, 2))


def test_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="a baseline needs records, got none"):
        baseline.save(Store(tmp_path), tmp_path / "b.zip")
    with pytest.raises(BenchError, match=r"no records in .*nowhere"):
        open_source(tmp_path / "nowhere")


def rewritten(content: bytes, **header: Any) -> bytes:
    """The baseline with some members of its header replaced."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(buffer, "w") as after,
    ):
        for name in before.namelist():
            member = before.read(name)
            if name == "baseline.json":
                member = json.dumps(json.loads(member) | header).encode()
            after.writestr(name, member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"schema": 2}, "has schema 2, this benchharness reads up to 1. Upgrade with 'pip"),
        ({"schema": True}, "its header says 'benchharness baseline', schema True"),
        ({"format": "zip"}, "its header says 'zip', schema 1"),
        ({"sha256": {}}, r"its members are not those that were packed \(SHA-256 differs\)"),
    ],
)
def test_other_headers_are_refused(
    saved: tuple[Store, baseline.Baseline], header: dict[str, Any], message: str
) -> None:
    content = rewritten(saved[1].path.read_bytes(), **header)
    with pytest.raises(BenchError, match=message):
        baseline.from_bytes(content, path=Path("b.zip"))


def test_a_damaged_baseline_is_an_error_and_nothing_else(
    saved: tuple[Store, baseline.Baseline],
) -> None:
    whole = saved[1].path.read_bytes()
    draws = random.Random(0)
    refusals = []
    for _ in range(200):
        damaged = bytearray(whole[: draws.choice([len(whole), draws.randrange(len(whole))])])
        for _ in range(draws.randint(0, 3)):
            if damaged:
                damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        try:
            baseline.from_bytes(bytes(damaged), path=Path("b.zip"))
        except BenchError as error:
            refusals.append(str(error))
    assert len(refusals) > 150
    assert all("b.zip" in refusal and "\n" not in refusal for refusal in refusals)


def test_a_baseline_of_the_first_schema_is_read_for_good() -> None:
    """Version 0.1.0 wrote the file; never write it again."""
    found = baseline.read(Path(__file__).parents[1] / "data" / "baseline_schema1.zip")
    assert found.written_by == "0.1.0"
    records = list(found.records().values())
    assert [(r.cell.perturbation.name, r.status, r.suspect) for r in records] == [
        ("none", "ok", False),
        ("pgd", "ok", True),
        ("motion", "error", False),
    ]
    for record in records[:2]:
        predictions = found.predictions(record)
        values, _ = metrics.compute(predictions.labels, predictions.logits)
        assert values == pytest.approx(record.metrics)
