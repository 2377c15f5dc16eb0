"""Opening a store of many records: every line parsed, or the index and only what is asked for."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.canonical import sha256
from benchharness.store.folder import Store
from benchharness.store.index import NAME
from benchharness.store.records import Record, Stored
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 10_000


def main(arguments: list[str] | None = None) -> None:
    """Print the seconds of every way to open a store, and how often the first is the second."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.store_speed")
    parser.add_argument("--records", type=int, default=RECORDS, help="how many the store has")
    count = parser.parse_args(arguments).records
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write(directory, count)
        megabytes = (directory / "records.jsonl").stat().st_size / 1e6
        print(f"a store of {count} records, {megabytes:.0f} MB, seconds")
        every = _row("every line parsed", lambda: _parse(directory))
        _row("first opening, index written", lambda: len(Store(directory).records()), every)
        _row("first resume, predictions hashed", lambda: _resume(directory), every)
        assert (directory / NAME).exists()
        _row("opening", lambda: len(Store(directory).records()), every)
        _row("resume", lambda: _resume(directory), every)
        _row("one model of ten read", lambda: _chosen(directory), every)


def write(directory: Path, count: int) -> None:
    """Write a store as `bench run` would."""
    (directory / "predictions").mkdir()
    content = predictions(100).to_bytes()
    with (directory / "records.jsonl").open("wb") as lines:
        for number in range(count):
            of = cell(model={"name": f"model{number % 10}"}, perturbation={"seed": number})
            stored = Stored(path=f"predictions/{of.identity}.npz", sha256=sha256(content))
            (directory / stored.path).write_bytes(content)
            facts: dict[str, Any] = {"parts": [{"name": "pgd", "steps": 100, "at": 0.5}] * 30}
            lines.write(
                replace(record(of, facts=facts), predictions=stored).to_line().encode() + b"\n"
            )


def _parse(directory: Path) -> int:
    with (directory / "records.jsonl").open() as lines:
        return len({found.identity: found for found in map(Record.from_line, lines)})


def _resume(directory: Path) -> int:
    return len(Store(directory).recorded().sound)


def _chosen(directory: Path) -> int:
    wanted = Store(directory).records(lambda entry: entry.model == "model3")
    return sum(found.status == "ok" for found in wanted.values())


def _row(name: str, call: Callable[[], int], every: float | None = None) -> float:
    began = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - began
    ratio = "" if every is None else f"{every / seconds:>9.1f} times"
    print(f"{name:<34}{found:>8}{seconds:>9.2f}{ratio}", flush=True)
    return seconds


if __name__ == "__main__":
    main()
