"""A Ray cluster whose nodes see none of the driver's files: the serial store, whatever is lost."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console

from benchharness.disk import caches
from benchharness.errors import BenchError
from benchharness.run import config, engines, runner
from benchharness.run.engines import cluster, user_code
from benchharness.run.progress import Display
from benchharness.training import recipes
from tests import samples
from tests.run.engines import rough
from tests.run.engines.test_local import contents, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchharness.run.summary import Summary

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'benchharness[ray]'")

ROUGH = "tests.run.engines.rough"
NETS = """
import os, sys
from pathlib import Path
import my_layers
from tests import samples

driver = int(os.environ["BENCH_TEST_DRIVER"])
store = os.environ["BENCH_TEST_STORE"]

def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(store):
        Path(os.environ["BENCH_TEST_FOLDER"], "opened").write_text(str(arguments[0]))

if os.getpid() != driver:
    sys.addaudithook(watch)
    Path(os.environ["BENCH_TEST_FOLDER"], f"watched-{os.getpid()}").touch()

def net(num_classes, in_channels=1):
    return samples.tiny(num_classes, in_channels, my_layers.WIDTH)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run in a person's folder with a network of their own; all have one thread."""
    own, marks = tmp_path / "own", tmp_path / "marks"
    for folder in (own, marks):
        folder.mkdir()
    (own / "my_nets.py").write_text(NETS)
    (own / "my_layers.py").write_text("WIDTH = 5\n")
    monkeypatch.chdir(own)
    monkeypatch.syspath_prepend(str(own))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("BENCH_TEST_DRIVER", str(os.getpid()))
    monkeypatch.setenv("BENCH_TEST_STORE", str(tmp_path / "stores"))
    monkeypatch.setenv(rough.FOLDER, str(marks))
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=24, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Run(tmp_path)
    torch.set_num_threads(threads)
    for name in ("my_nets", "my_layers"):
        sys.modules.pop(name, None)


class Run:
    """Calls `bench run`, without the command line."""

    def __init__(self, folder: Path) -> None:
        self.stores, self.marks = folder / "stores", folder / "marks"
        self.stores.mkdir()
        self.data = samples.write_archive(self.stores / "data.npz", classes=3)

    def __call__(self, name: str, **flags: Any) -> tuple[Summary, str]:
        asked = {
            "models": "my_nets:net",
            "datasets": str(self.data),
            "recipes": "quick",
            "device": "cpu",
            "limit": 6,
            "out": self.stores / name,
        }
        said = io.StringIO()
        display = Display(Console(file=said, width=200))
        summary = runner.run(config.load(None, asked | flags), display)
        return summary, said.getvalue()

    def contents(self, name: str) -> dict[str, tuple[Any, ...]]:
        return contents(self.stores / name)


def test_workers_of_ray_make_the_serial_store_and_open_nothing_of_the_drivers(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    """A training, transferred volumes, corrupted ones, and a cell that raises."""
    flags = {
        "attacks": f"fgsm,{ROUGH}:Raises",
        "eps": "8/255",
        "artefacts": "gamma",
        "severities": "3",
    }
    before, _ = run("serial", **flags)
    capfd.readouterr()
    summary, said = run("ray", **flags, engine="ray", workers=1)
    assert run.contents("ray") == run.contents("serial")
    assert len(run.contents("ray")) == 6
    assert (summary.evaluated, summary.trained) == (before.evaluated, 1)
    assert summary.failures == before.failures
    assert [line.endswith("told to raise 3") for line in summary.failures] == [True]
    assert "Ray at this machine: 1 worker with 1 CPU each, 1 node" in said
    marks = {mark.name.partition("-")[0] for mark in run.marks.iterdir()}
    assert marks == {"watched"}  # and not "opened"
    assert not ray.is_initialized()
    assert not list((caches.cache_folder("shipped")).iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, each with a core."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8}
    )
    made.second = made.add_node(num_cpus=1, object_store_memory=10**8)
    yield made
    ray.shutdown()
    made.shutdown()


def later(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Do something in mid-run."""

    def wait() -> None:
        began = time.monotonic()
        while not condition() and time.monotonic() - began < 120:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


MATRIX = {
    "models": "my_nets:net,tests.samples:wider",
    "attacks": f"fgsm,transfer,{ROUGH}:Raises,{ROUGH}:Waits",
    "eps": "1/255,2/255,4/255,8/255",
    "artefacts": "gamma,bias_field",
    "severities": "1,5",
}


@pytest.mark.slow
def test_a_node_that_is_lost_in_mid_run_changes_nothing(run: Run, two_nodes: Any) -> None:
    before, _ = run("serial", **MATRIX)
    for mark in run.marks.iterdir():
        mark.unlink()

    def both_work() -> bool:
        return len(list(run.marks.glob("pid-*"))) >= 2

    lost = later(both_work, lambda: two_nodes.remove_node(two_nodes.second, allow_graceful=False))
    summary, said = run("ray", **MATRIX, engine="ray", address=two_nodes.address)
    lost.join()
    assert both_work()
    assert said.count(": it is run again") == 1
    assert run.contents("ray") == run.contents("serial")
    assert sorted(summary.failures) == sorted(before.failures)
    assert (summary.evaluated, summary.trained) == (before.evaluated, 2)
    records = (run.stores / "ray" / "records.jsonl").read_text().splitlines()
    assert len(records) == len(run.contents("ray"))
    assert not (run.marks / "opened").exists()
    # The cluster is somebody's: it is there still, without our actors.
    ray.init(address=two_nodes.address, log_to_driver=False)
    wait_for(lambda: ray.cluster_resources()["CPU"] == 1, "the news of the lost node")
    wait_for(lambda: ray.available_resources().get("CPU") == 1, "the end of our actors")
    ray.shutdown()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(run: Run) -> None:
    (run.marks / "died").touch()
    flags = {"attacks": f"{ROUGH}:DiesOnce", "eps": "2/255,8/255"}
    run("serial", **flags)
    (run.marks / "died").unlink()
    _, said = run("ray", **flags, engine="ray", workers=1)
    assert said.count(": it is run again") == 1
    assert run.contents("ray") == run.contents("serial")


@pytest.mark.slow
def test_a_head_that_is_lost_ends_the_command_in_a_line(run: Run, two_nodes: Any) -> None:
    """In a process of its own: Ray ends one that goes on for a minute without its head."""
    out = run.stores / "ray"
    typed = [
        *("--models", "tests.samples:tiny", "--datasets", str(run.data), "--recipe", "quick"),
        *("--attacks", f"{ROUGH}:Waits", "--limit", "6", "--device", "cpu", "--out", str(out)),
        *("--eps", ",".join(f"{step}/255" for step in range(1, 200))),
        *("--engine", "ray", "--address", two_nodes.address),
    ]
    lost = later(
        lambda: (out / "records.jsonl").exists(),
        lambda: two_nodes.head_node.kill_gcs_server(check_alive=False),
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchharness", "run", *typed],
        capture_output=True,
        text=True,
        timeout=300,
    )
    lost.join()
    assert done.returncode == 2
    assert re.fullmatch(
        r"bench: the head of the Ray cluster has not answered for \d+ s, so the run ends. .*\n",
        done.stderr,
    )
    assert {status for status, *_ in run.contents("ray").values()} == {"ok"}


@pytest.mark.slow
def test_a_node_of_another_version_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = user_code.expected
    monkeypatch.setattr(user_code, "expected", lambda names: found(names) | {"torch": "1.0"})
    with pytest.raises(BenchError, match=r"does not fit this machine: torch .* instead of 1\.0\."):
        run("ray", engine="ray", workers=1)


def refused(**flags: Any) -> str:
    settings = config.load(None, {"models": "tests.samples:tiny", "device": "cpu"} | flags)
    with pytest.raises(BenchError) as caught:
        engines.check(settings)
    return str(caught.value)


def test_options_of_a_cluster_are_refused_without_one() -> None:
    assert "--address is for a cluster" in refused(address="auto")
    assert "--cpus-per-worker is for a cluster" in refused(cpus_per_worker=2)
    assert "--gpus-per-worker is for a cluster" in refused(gpus_per_worker=1)


def test_devices_of_this_machine_mean_nothing_on_a_cluster() -> None:
    for device in ("cuda:1", "cuda:0,cuda:1", "cuda:all"):
        assert "Type --device cuda, and --gpus-per-worker" in refused(engine="ray", device=device)
    assert "Keep one of the two" in refused(engine="ray", gpus_per_worker=0.5)


@pytest.mark.parametrize("typed", ["1.5", "-1", "nan", "inf", "many", True, "100000"])
def test_gpus_are_whole_or_a_part_of_one(typed: object) -> None:
    with pytest.raises(BenchError, match="--gpus-per-worker takes a whole number, or a part"):
        config.load(None, {"models": "x", "gpus_per_worker": typed})


def test_without_ray_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(engine="ray").endswith("Install it: pip install 'benchharness[ray]'.")


@pytest.mark.parametrize("address", ["nonsense", "http://here:80", "ray://", "host:", ":1"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(BenchError, match="--address takes auto, HOST:PORT or ray://HOST:PORT, got"):
        cluster.Connection(address)


def test_an_address_where_nothing_is_gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # bound, and nobody listens
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            began = time.monotonic()
            with pytest.raises(BenchError, match=f"no Ray cluster answers at --address {address}"):
                cluster.Connection(address).open(None, {})
            assert time.monotonic() - began < 6
        taken.listen()  # takes connections, and is no head
        monkeypatch.setattr(cluster, "_HEALTHY_S", 1.0)
        with pytest.raises(BenchError, match="no Ray cluster answers"):
            cluster.Connection(f"127.0.0.1:{port}").open(None, {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "The actor died unexpectedly before finishing this task.\n\tclass_name: A\nThe actor "
            "is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker "
            "exit detail: Worker unexpectedly exits with a connection error code 2. End of file.",
            "Worker unexpectedly exits with a connection error code 2",
        ),
        (
            "The actor 50 is unavailable: The actor is temporarily unavailable: RpcError: Socket "
            "closed rpc_code: 14. The task may or may not have been executed on the actor.",
            "The actor is temporarily unavailable: RpcError: Socket closed rpc_code: 14",
        ),
        (
            "The actor died because of an error raised in its creation task\nTraceback\n"
            "ModuleNotFoundError: No module named 'benchharness.run.engines.remote'",
            "ModuleNotFoundError: No module named 'benchharness.run.engines.remote'",
        ),
    ],
)
def test_the_page_that_ray_writes_of_a_death_becomes_a_line(text: str, line: str) -> None:
    assert cluster.cause(RuntimeError(text)) == line
