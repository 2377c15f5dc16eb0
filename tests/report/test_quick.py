"""The quick overview: counts and means from the index, for stores of any size."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchharness.cli import main
from benchharness.report import quick
from benchharness.store import index
from benchharness.store.folder import Store
from benchharness.store.records import Record
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from pathlib import Path


ACCURACIES = (0.25, 0.75, 0.5, 1.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Four attacked cells of two networks, a failed one and a control; an index from line one."""
    monkeypatch.setattr(index, "WORTH", 1)
    made = Store(tmp_path / "out")
    with made.writing():
        for number, accuracy in enumerate(ACCURACIES):
            of = record(
                cell(model={"name": f"net{number // 2}"}, perturbation={"seed": number}),
                metrics={"accuracy": accuracy, "auc": None},
            )
            made.append(replace(of, predictions=made.save_predictions(of.cell, predictions())))
        made.append(failed(cell(model={"name": "net1"}, perturbation={"seed": 9})))
        control = cell(model={"name": "net1"}, perturbation={"family": "control", "seed": 8})
        of = record(control, metrics={"accuracy": 0.0, "auc": None})
        made.append(replace(of, predictions=made.save_predictions(control, predictions())))
    return made


def failed(of: object) -> Record:
    return replace(
        record(of), status="error", error="it failed", metrics={}, undefined={}, predictions=None
    )


def test_recipes_of_a_model_are_never_averaged(tmp_path: Path) -> None:
    made = Store(tmp_path / "out")
    with made.writing():
        for recipe, accuracy in (("quick", 0.25), ("adv_pgd", 0.75)):
            checkpoint = {"recipe": (("name", recipe),), "seed": 0, "sha256": recipe * 8}
            of = record(
                cell(model={"name": "net"}, checkpoint=checkpoint),
                metrics={"accuracy": accuracy, "auc": None},
            )
            made.append(replace(of, predictions=made.save_predictions(of.cell, predictions())))
    lines = {
        line.split()[2]: line for line in shown(made.directory).splitlines() if "net ·" in line
    }
    assert "0.250" in lines["quick"]
    assert "0.750" in lines["adv_pgd"]


def shown(path: Path) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(quick.overview(path))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_it_counts_and_averages(store: Store) -> None:
    text = shown(store.directory)
    assert row(text, "net0") == ["net0", "1", "2", "0", "0", "0.500"]
    assert row(text, "net1")[:6] == ["net1", "1", "3", "1", "0", "0.750"]
    assert "1 cells failed." in text
    assert "adrenalmnist3d, 10 volumes" in text


def test_no_line_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "from_line", lambda _: pytest.fail("a line was read"))
    assert "net0" in shown(store.directory)


def test_the_command_writes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(store.directory.rglob("*"))
    monkeypatch.setattr("sys.argv", ["bench", "report", str(store.directory), "--quick"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert sorted(store.directory.rglob("*")) == before


def test_what_it_does_not_show_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "bench",
        "report",
        str(store.directory),
        "--quick",
        "--metrics",
        "auc",
        "--width",
        "page",
    ]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "Take --metrics and --width out." in capsys.readouterr().err


def test_the_port_of_a_page_that_is_not_served_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--quick", "--port", "0"], ["--port", "0"]):
        monkeypatch.setattr("sys.argv", ["bench", "report", str(store.directory), *words])
        with pytest.raises(SystemExit):
            main()
        assert "--port" in capsys.readouterr().err
