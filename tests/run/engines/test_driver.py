"""The driver's loop over an engine whose workers die, raise or stop as they are told to."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console

from benchharness.errors import BenchError, CellError
from benchharness.networks import checkpoints
from benchharness.run import config, engines, runner
from benchharness.run.engines.engine import WorkerDied, failed
from benchharness.run.engines.serial import Inside, Serial
from benchharness.run.engines.tasks import Measure, Said, Train
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.run.engines.engine import Hear
    from benchharness.run.engines.tasks import Result, Task
    from benchharness.run.planning import Plan
    from benchharness.run.summary import Summary


class Told(Serial):
    """Three workers in this process, each of which asks first what shall happen to a task."""

    def __init__(self, plan: Plan, fate: Callable[[Task], Exception | None]) -> None:
        super().__init__("cpu", plan)
        (inside,) = self.workers
        self.replaced: list[int] = []
        self.workers = tuple(_Told(inside, fate) for _ in range(3))  # type: ignore[assignment]

    def replace(self, place: int) -> None:
        self.replaced.append(place)


class _Told:
    device = "cpu"
    ready = True

    def __init__(self, inside: Inside, fate: Callable[[Task], Exception | None]) -> None:
        self._inside, self._fate, self.started = inside, fate, inside.started

    def submit(self, task: Task, hear: Hear) -> Future[Result]:
        hear(Said(note=f"told: {type(task).__name__}"))
        error = self._fate(task)
        return self._inside.submit(task, hear) if error is None else failed(error)

    def listen(self) -> None:
        pass


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=24, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz", classes=3)


Run = Any


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(
        fate: Callable[[Task], Exception | None], *, stop: Any = lambda: False, **flags: Any
    ) -> tuple[Summary, str, Told]:
        said, made = io.StringIO(), []

        def choose(_: Any, plan: Plan, __: Any) -> Told:
            made.append(Told(plan, fate))
            return made[0]

        monkeypatch.setattr(engines, "choose", choose)
        asked = {
            "models": "tests.samples:tiny,tests.samples:wider",
            "datasets": str(data),
            "attacks": "noise_sign",
            "eps": "2/255,8/255",
            "artefacts": None,
            "recipes": "quick",
            "device": "cpu",
            "limit": 6,
            "out": tmp_path / "out",
        }
        settings = config.load(None, asked | flags)
        summary = runner.run(settings, Display(Console(file=said, width=200)), stop=stop)
        return summary, said.getvalue(), made[0]

    return call


def name_of(task: Task) -> str:
    if isinstance(task, Train):
        return f"train {task.weights.model.name}"
    key = task.cell.perturbation
    return f"{task.cell.model.name} {key.name} {key.severity and round(255 * key.severity)}"


def lines(out: Path) -> list[str]:
    return (out / "records.jsonl").read_text().splitlines()


def test_a_task_of_a_dead_worker_runs_again_and_nothing_twice(run: Run, tmp_path: Path) -> None:
    tried: Counter[str] = Counter()

    def twice(task: Task) -> Exception | None:
        tried[name_of(task)] += 1
        return WorkerDied("told to") if tried[name_of(task)] < 3 else None

    summary, said, engine = run(twice)
    assert (summary.evaluated, summary.trained, summary.failures) == (6, 2, ())
    assert set(tried.values()) == {3}
    assert len(engine.replaced) == 2 * len(tried)
    assert (
        "a worker died in tiny · quick · data · clean · seed 0 (told to): it is run again" in said
    )
    assert len(lines(tmp_path / "out")) == 6


@pytest.mark.parametrize("cause", ["killed", ""])
def test_what_kills_three_workers_is_one_error_record(run: Run, tmp_path: Path, cause: str) -> None:
    tried: Counter[str] = Counter()

    def always(task: Task) -> Exception | None:
        tried[name_of(task)] += 1
        return WorkerDied(cause) if name_of(task) == "tiny noise_sign 8" else None

    summary, _, _ = run(always)
    assert tried.pop("tiny noise_sign 8") == 3
    assert set(tried.values()) == {1}
    assert (summary.evaluated, len(summary.failures)) == (6, 1)
    found = [r for r in Store(tmp_path / "out").records().values() if r.status == "error"]
    assert [record.error for record in found] == [
        "its worker died three times" + (" (killed)" if cause else "")
    ]
    assert len(lines(tmp_path / "out")) == 6


def test_a_training_that_kills_its_workers_fails_and_the_others_are_measured(
    run: Run, tmp_path: Path
) -> None:
    summary, _, _ = run(
        lambda task: WorkerDied("told to") if name_of(task) == "train tiny" else None
    )
    assert (summary.evaluated, summary.trained) == (3, 1)
    assert summary.failures == ("training tiny on data: its worker died three times (told to)",)
    errors = [r.error for r in Store(tmp_path / "out").records().values() if r.error]
    assert errors == ["training failed: its worker died three times (told to)"] * 3


def test_workers_that_never_start_end_the_run_in_one_line(run: Run) -> None:
    def never(task: Task) -> Exception | None:
        return WorkerDied("exit code 1")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inside, "__init__", _unstarted)
        with pytest.raises(BenchError, match=r"workers cannot be started here \(exit code 1\)\."):
            run(never)


def _unstarted(self: Inside, performer: Any) -> None:
    self.device, self.started = "cpu", Future()


def test_a_task_that_raises_is_one_error_record(run: Run, tmp_path: Path) -> None:
    summary, _, _ = run(
        lambda task: CellError("told to") if name_of(task) == "wider none None" else None
    )
    assert summary.evaluated == 6
    assert summary.failures == ("wider · quick · data · clean · seed 0: told to",)
    assert len(lines(tmp_path / "out")) == 6


def test_a_full_disk_in_a_training_ends_the_run(run: Run) -> None:
    with pytest.raises(BenchError, match="no room"):
        run(lambda task: BenchError("no room.") if isinstance(task, Train) else None)


def test_nothing_begins_after_a_stop(run: Run, tmp_path: Path) -> None:
    begun: list[str] = []

    def seen(task: Task) -> Exception | None:
        begun.append(name_of(task))
        return None

    summary, _, _ = run(seen, stop=lambda: len(begun) >= 4)
    assert begun[:2] == ["train tiny", "train wider"]
    assert len(begun) == 4
    assert (summary.evaluated, summary.trained, summary.skipped) == (2, 2, 4)
    again, _, _ = run(seen)
    assert (again.evaluated, again.recorded, again.trained, again.skipped) == (4, 2, 0, 0)
    assert len(set(begun)) == len(begun) == 8
    assert len(lines(tmp_path / "out")) == 6


def test_a_stop_during_the_trainings_skips_the_cells_of_both_networks(run: Run) -> None:
    begun: list[str] = []

    def seen(task: Task) -> Exception | None:
        begun.append(name_of(task))
        return None

    summary, _, _ = run(seen, stop=lambda: len(begun) >= 1)
    assert begun == ["train tiny"]
    assert (summary.evaluated, summary.trained, summary.skipped) == (0, 1, 6)
    assert len(summary.identities) == 3


def test_networks_that_cannot_be_loaded_are_said_once_for_all_their_cells(
    run: Run, tmp_path: Path
) -> None:
    torch.save(samples.tiny(3).state_dict(), tmp_path / "tiny.pth")

    def spoil(task: Task) -> Exception | None:
        if isinstance(task, Measure) and task.cell.model.name == "tiny":
            (tmp_path / "tiny.pth").write_bytes(b"another")
        return None

    summary, _, _ = run(spoil, checkpoint=[f"tiny={tmp_path / 'tiny.pth'}"])
    assert (summary.evaluated, summary.trained, len(summary.failures)) == (3, 1, 1)
    assert "has changed since this run began" in summary.failures[0]
    errors = [r.error for r in Store(tmp_path / "out").records().values() if r.error]
    assert len(errors) == 3
    assert len(set(errors)) == 1


def test_a_training_that_another_run_has_finished_is_not_sent(run: Run, tmp_path: Path) -> None:
    run(lambda task: None)
    (tmp_path / "out" / "records.jsonl").unlink()
    begun: list[str] = []
    read = checkpoints.read_card
    with pytest.MonkeyPatch.context() as patch:
        calls: Counter[Any] = Counter()

        def later(folder: Path) -> Any:
            calls[folder] += 1
            return None if calls[folder] == 1 else read(folder)

        patch.setattr(checkpoints, "read_card", later)
        summary, said, _ = run(lambda task: begun.append(name_of(task)))
    assert "tiny on data was trained by another run meanwhile" in said
    assert not any(name.startswith("train") for name in begun)
    assert (summary.evaluated, summary.trained) == (6, 0)


def test_training_alone_trains_all_and_measures_nothing(run: Run, tmp_path: Path) -> None:
    begun: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run", lambda asked, display, stop: runner.train(asked, display))
        summary, _, _ = run(lambda task: begun.append(name_of(task)))
    assert begun == ["train tiny", "train wider"]
    assert (summary.evaluated, summary.trained, summary.identities) == (0, 2, ())
    assert not (tmp_path / "out" / "records.jsonl").exists()


def test_what_workers_say_is_shown(run: Run) -> None:
    _, said, _ = run(lambda task: None)
    assert said.count("told: Train\n") == 2
    assert said.count("told: Measure\n") == 6
