"""Progress: plain lines where there is no terminal, bars where there is one."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from benchharness.run import progress
from benchharness.run.progress import Display


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def display(*, terminal: bool = False) -> tuple[Display, io.StringIO]:
    said = io.StringIO()
    return Display(Console(file=said, force_terminal=terminal, width=200)), said


def test_plain_lines_say_what_was_done_and_how_long_it_took(clock: Clock) -> None:
    shown, said = display()
    with shown:
        shown.start(total=3, done=1)
        for _ in range(2):
            with shown.task("a [b] cell", total=4) as task:
                clock.now += 2.5
                task.advance(4)
            shown.advance(1)
        shown.note("failed: [x]")
    assert said.getvalue().splitlines() == [
        "1 of 3 cells are recorded already",
        "[2/3] a [b] cell: 2.5 s",
        "[3/3] a [b] cell: 2.5 s",
        "failed: [x]",
    ]


def test_a_long_task_says_how_far_it_is_now_and_then(clock: Clock) -> None:
    shown, said = display()
    with shown, shown.task("train", total=10) as task:
        for done in range(1, 11):
            clock.now += 10
            task.reach(done, f"loss {done}")
    assert said.getvalue().splitlines() == [
        "  train: 2/10, loss 2, about 80 s left",
        "  train: 4/10, loss 4, about 60 s left",
        "  train: 6/10, loss 6, about 40 s left",
        "  train: 8/10, loss 8, about 20 s left",
        "train: 100.0 s",
    ]


def test_a_task_that_does_not_move_divides_by_nothing(clock: Clock) -> None:
    shown, said = display()
    with shown, shown.task("slow", total=10) as task:
        for _ in range(3):
            clock.now += 20
            task.reach(0)
    assert said.getvalue() == "slow: 60.0 s\n"


def test_a_task_that_fails_leaves_no_line_of_success(clock: Clock) -> None:
    shown, said = display()
    with pytest.raises(RuntimeError, match="inside"), shown, shown.task("cell", total=1):
        raise RuntimeError("inside")
    assert said.getvalue() == ""


def test_a_terminal_shows_bars_instead_of_lines() -> None:
    shown, said = display(terminal=True)
    with shown:
        shown.start(total=2, done=0)
        with shown.task("a cell", total=4) as task:
            task.reach(2, "loss 0.5")
            shown.note("a note")
        shown.advance(1)
    text = said.getvalue()
    assert "a note" in text
    assert "\x1b[" in text
    assert "a cell: " not in text
