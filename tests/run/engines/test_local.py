"""Processes of this machine: the serial store, whatever dies."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console

from benchharness.run import config, runner
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples
from tests.run.engines import rough

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchharness.run.summary import Summary

ROOT = Path(__file__).parents[3]
ROUGH = "tests.run.engines.rough"


def settings(data: Path, out: Path, **flags: Any) -> dict[str, Any]:
    return {
        "models": "tests.samples:tiny",
        "datasets": str(data),
        "recipes": "quick",
        "device": "cpu",
        "limit": 6,
        "out": out,
    } | flags


def run(data: Path, out: Path, **flags: Any) -> tuple[Summary, str]:
    said = io.StringIO()
    asked = config.load(None, settings(data, out, **flags))
    return runner.run(asked, Display(Console(file=said, width=200))), said.getvalue()


def contents(out: Path) -> dict[str, tuple[Any, ...]]:
    """All that a store says of its cells but where and when they were measured."""
    return {
        identity: (
            record.status,
            record.metrics,
            record.undefined,
            record.certificate,
            record.facts,
            record.predictions,
            record.error,
        )
        for identity, record in Store(out).records().items()
    }


@pytest.fixture
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=24, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which `rough` leaves its files; this process has one thread, as workers do."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv(rough.FOLDER, str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


def test_two_workers_one_of_them_killed_make_the_serial_store(
    tmp_path: Path, marks: Path, short_recipe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings, cells that rest on others, transfers, volumes shared through the cache."""
    data = samples.write_archive(tmp_path / "data.npz", classes=3)
    flags = {
        "models": "tests.samples:tiny,tests.samples:wider",
        "attacks": f"fgsm,transfer,{ROUGH}:DiesOnce,{ROUGH}:Raises",
        "eps": "2/255,8/255",
        "artefacts": f"{ROUGH}:Counted",
        "severities": "1,5",
        "accuracy_only": True,
    }
    (marks / "died").touch()
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "first"))
    before, _ = run(data, tmp_path / "serial", **flags)
    for mark in marks.iterdir():
        mark.unlink()
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "second"))
    summary, said = run(data, tmp_path / "two", **flags, workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "serial")
    assert (summary.evaluated, summary.trained) == (before.evaluated, before.trained)
    assert sorted(summary.failures) == sorted(before.failures)
    assert len(summary.failures) == 4
    assert all("told to raise 3" in line or "which failed" in line for line in summary.failures)
    assert sorted(summary.identities) == sorted(before.identities)
    assert said.count("(ended by SIGKILL, as where memory runs out): it is run again") == 1
    lines = (tmp_path / "two" / "records.jsonl").read_text().splitlines()
    assert len(lines) == len(contents(tmp_path / "two"))
    # Every volume of both levels was made once, for both networks, by whichever worker came first.
    made = [mark.name for mark in marks.iterdir() if mark.name.startswith("made")]
    assert len(made) == 2 * 6
    records = Store(tmp_path / "two").records().values()
    assert {record.provenance["threads"] for record in records} == {1}


@pytest.fixture
def waiting(tmp_path: Path, marks: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `bench run` with two workers on cells that take a third of a second."""
    torch.manual_seed(0)
    torch.save(samples.tiny(3).state_dict(), tmp_path / "tiny.pth")
    data = samples.write_archive(tmp_path / "data.npz", classes=3)
    # No `if __name__ == "__main__"`: a worker must not run it once more.
    script = tmp_path / "script.py"
    script.write_text("from benchharness.cli import main\nmain()\n")

    def start() -> subprocess.Popen[str]:
        typed = [
            *("--models", "tests.samples:tiny", "--checkpoint", f"tiny={tmp_path / 'tiny.pth'}"),
            *("--datasets", str(data), "--attacks", f"{ROUGH}:Waits", "--limit", "6"),
            *("--eps", ",".join(f"{step}/255" for step in range(1, 21)), "--device", "cpu"),
            *("--workers", "2", "--out", str(tmp_path / "out")),
        ]
        return subprocess.Popen(
            [sys.executable, str(script), "run", *typed],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what} did not happen"
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def workers(marks: Path) -> set[int]:
    """Processes that have begun a cell."""
    return {int(mark.name.partition("-")[2]) for mark in marks.glob("pid-*")}


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"
)


@needs_proc
def test_a_driver_that_is_killed_leaves_no_worker_and_a_store_to_go_on_with(
    tmp_path: Path, marks: Path, waiting: Callable[..., subprocess.Popen[str]]
) -> None:
    out = tmp_path / "out"
    (marks / rough.TOGETHER).touch()
    process = waiting()
    wait_for(lambda: len(workers(marks)) == 2, "work in both workers")
    wait_for(lambda: bool(contents(out)), "a record")
    began = workers(marks)
    assert all(map(alive, began))
    process.kill()
    process.wait()
    try:
        wait_for(lambda: not any(map(alive, began)), "the workers' end", 10.0)
    finally:
        for one in filter(alive, began):
            os.kill(one, signal.SIGKILL)
    process.communicate()
    recorded = len(contents(out))
    assert 1 <= recorded < 21
    flags = {
        "checkpoint": [f"tiny={tmp_path / 'tiny.pth'}"],
        "attacks": f"{ROUGH}:Waits",
        "eps": ",".join(f"{step}/255" for step in range(1, 21)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: None)
        summary, _ = run(tmp_path / "data.npz", out, **flags)
        run(tmp_path / "data.npz", tmp_path / "whole", **flags)
    assert (summary.recorded, summary.evaluated) == (recorded, 21 - recorded)
    assert contents(out) == contents(tmp_path / "whole")


@needs_proc
def test_ctrl_c_twice_is_one_line_and_leaves_no_worker(
    tmp_path: Path, marks: Path, waiting: Callable[..., subprocess.Popen[str]]
) -> None:
    process = waiting()
    # The last line that can be read may be taken back: its writer has not said yet that it is kept.
    wait_for(lambda: len(contents(tmp_path / "out")) >= 2, "a record that is kept")
    for _ in range(2):  # as a terminal does, to all processes of the group
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert error == (
        "bench: interrupted. What is finished is kept; the same command goes on from there.\n"
    )
    wait_for(lambda: not any(map(alive, workers(marks))), "the workers' end", 1.0)
    assert set(contents(tmp_path / "out"))


@pytest.mark.slow
def test_eight_workers_make_every_corrupted_set_once(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight networks want the same four sets at once."""
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    data = samples.write_archive(tmp_path / "data.npz")
    torch.manual_seed(0)
    torch.save(samples.tiny(2).state_dict(), tmp_path / "0.pth")
    state = torch.load(tmp_path / "0.pth", weights_only=True)
    own = []
    for seed in range(8):
        state["head.bias"] += 0.01
        torch.save(state, tmp_path / f"{seed}.pth")
        own.append(f"tiny#{seed}={tmp_path / f'{seed}.pth'}")
    flags = {
        "checkpoint": own,
        "seeds": ",".join(map(str, range(8))),
        "artefacts": f"{ROUGH}:Counted",
        "severities": "1-4",
        "workers": 8,
    }
    summary, _ = run(data, tmp_path / "out", **flags)
    assert (summary.evaluated, summary.failures) == (8 * 5, ())
    made = [mark.name.split("-") for mark in marks.iterdir()]
    assert len(made) == 4 * 6
    assert len({name[-1] for name in made}) > 1  # more than one worker made some
    shutil.rmtree(tmp_path / "cache")
