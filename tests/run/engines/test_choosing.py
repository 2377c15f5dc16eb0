"""Which engine, how many workers, which device and how many threads each."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console

import benchharness as bh
from benchharness import machine
from benchharness.errors import BenchError
from benchharness.machine import THREADS
from benchharness.networks import devices
from benchharness.run import config, engines, planning, runner
from benchharness.run.engines import auto, local
from benchharness.run.engines.local import Local
from benchharness.run.engines.serial import Serial
from benchharness.run.progress import Display
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Engine


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, all of which are ours."""
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.delenv(THREADS, raising=False)


def settings(data: Path, **flags: Any) -> RunConfig:
    flags = {"models": "tests.samples:tiny", "datasets": str(data), "recipes": "quick"} | flags
    return config.load(None, flags)


def chosen(asked: RunConfig) -> tuple[Engine, list[str]]:
    engines.check(asked)
    said: list[str] = []
    return engines.choose(asked, planning.plan(asked), said.append), said


def test_one_worker_is_this_process(data: Path) -> None:
    for workers in (None, 1):
        made, said = chosen(settings(data, workers=workers, device="cpu"))
        assert isinstance(made, Serial)
        assert said == []


@pytest.mark.parametrize(("workers", "threads"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_workers_share_the_cores(data: Path, cores: None, workers: int, threads: int) -> None:
    made, said = chosen(settings(data, workers=workers, device="cpu"))
    assert isinstance(made, Local)
    assert [one.device for one in made.workers] == ["cpu"] * workers
    assert {one.threads for one in made.workers} == {threads}
    assert said == [f"{workers} workers, {threads} thread{'s' if threads > 1 else ''} each"]


def test_a_users_own_threads_win(data: Path, cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "3")
    _, said = chosen(settings(data, workers=2, device="cpu"))
    assert said == ["2 workers, 3 threads each"]
    with local.spawning(4):
        assert machine.own_threads() == 3
    monkeypatch.delenv(THREADS)
    with local.spawning(4):
        assert machine.own_threads() == 4
    assert machine.own_threads() is None


@pytest.mark.parametrize(
    ("device", "workers", "expected"),
    [
        ("cuda:0,cuda:2", None, ["cuda:0", "cuda:2"]),
        ("cuda:all", None, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("cuda:1, cuda:3", 3, ["cuda:1", "cuda:3", "cuda:1"]),
        ("cuda:1", 2, ["cuda:1", "cuda:1"]),
        ("cuda:all", "auto", ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
    ],
)
def test_every_worker_has_its_device(
    data: Path, gpus: None, device: str, workers: Any, expected: list[str]
) -> None:
    made, said = chosen(settings(data, device=device, workers=workers))
    assert [one.device for one in made.workers] == expected
    assert said[0].startswith(f"{len(expected)} workers, on {', '.join(expected)}")


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("cuda:0,cuda:4", None, "'cuda:4' is not available: torch sees cuda:0 to cuda:3"),
        ("cuda:0,cuda", None, "names a device twice. Name each once; --workers 2 puts several"),
        ("cuda:0,cpu", None, "names a CPU among several devices"),
        ("cuda:all", 3, "--workers 3 leaves 1 of 4 devices idle"),
        ("cpu", 10_000, "--workers must be at most .* got 10000. Type --workers auto"),
        ("cpu", 0, "--workers must be at least 1, got 0"),
        ("cpu", "many", "--workers takes whole numbers, got 'many'"),
    ],
)
def test_a_mistake_is_one_line(
    data: Path, gpus: None, device: str, workers: Any, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        engines.check(settings(data, device=device, workers=workers))


@pytest.mark.parametrize("device", ["cuda:0,cuda:1", "cuda:all"])
def test_one_network_takes_one_device(device: str) -> None:
    with pytest.raises(BenchError, match="names several devices, which only bench run"):
        devices.resolve(device)


def test_no_gpu_is_said_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="torch sees no CUDA device"):
        devices.several("cuda:all")


def test_objects_stay_in_their_process(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="was handed over as an object"):
        bh.benchmark({"mine": samples.tiny(5)}, workers=2, out=tmp_path / "out", limit=2)
    assert not list((tmp_path / "out").glob("records.jsonl"))


FOUND = auto.Found(
    cores=8,
    own_threads=None,
    one_thread=4.0,
    all_threads=1.0,
    worker_bytes=10**9,
    free_bytes=64 * 10**9,
    tasks=100,
)


@pytest.mark.parametrize(
    ("changes", "workers", "reason"),
    [
        ({}, 8, "8 cores, 2.00 times the throughput of one worker on all threads"),
        (
            {"all_threads": 0.4},
            1,
            "8 threads do a batch 1.25 times as fast as 8 workers of 1 would",
        ),
        ({"free_bytes": 4 * 10**9}, 3, "one takes 1.0 GB and 4.0 GB are free, 1.31 times"),
        ({"free_bytes": 0}, 1, "one takes 1.0 GB and 0.0 GB are free"),
        ({"tasks": 2}, 2, "no more than 2 can run at once, 1.40 times"),
        ({"tasks": 0}, 1, "no more than 0 can run at once"),
        ({"own_threads": 4, "one_thread": None}, 2, "4 threads each as OMP_NUM_THREADS says"),
        ({"own_threads": 32}, 1, "32 threads each"),
        ({"one_thread": None, "worker_bytes": None}, 8, "8 cores"),
    ],
)
def test_auto_weighs_cores_memory_and_one_batch(
    changes: dict[str, Any], workers: int, reason: str
) -> None:
    choice = auto.decide(replace(FOUND, **changes))
    assert choice.workers == workers
    assert reason in choice.reason


def test_auto_measures_on_one_thread_and_on_all_and_says_what_it_chose(
    data: Path, cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    pace = auto.pace

    def watched(*arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return pace(*arguments)

    monkeypatch.setattr(auto, "pace", watched)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    before = torch.get_num_threads()
    _, said = chosen(settings(data, workers="auto", device="cpu"))
    assert seen == [1, 2, 1, 2]
    assert torch.get_num_threads() == before
    assert len(said) == 1
    assert ("throughput" in said[0]) or ("times as fast" in said[0]) or ("free" in said[0])


def test_this_machine_says_what_it_has() -> None:
    assert machine.cores() >= 1
    free, peak = machine.free_memory(), machine.peak_memory()
    assert free is None or free > 0
    assert peak is None or peak > 10**7


@pytest.mark.parametrize(
    "asked",
    [{"workers": 2}, {"workers": "auto"}, {"engine": "ray", "address": "203.0.113.1:6379"}],
    ids=["workers", "auto", "ray"],
)
def test_nothing_starts_where_all_is_recorded(
    data: Path, tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    torch.save(samples.tiny(2).state_dict(), tmp_path / "tiny.pth")
    own = {"checkpoint": [f"tiny={tmp_path / 'tiny.pth'}"], "out": tmp_path / "out", "limit": 2}
    display = Display(Console(file=io.StringIO()))
    runner.run(settings(data, device="cpu", **own), display)
    monkeypatch.setattr(engines, "choose", None)
    monkeypatch.setattr(engines.cluster, "library", lambda: None)
    summary = runner.run(settings(data, device="cpu", **asked, **own), display)
    assert (summary.evaluated, summary.recorded) == (0, 1)
