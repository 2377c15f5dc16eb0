"""Progress for people: bars in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from benchharness.outside.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from rich.console import Console
    from rich.progress import Task as RichTask
    from rich.progress import TaskID

_QUIET_S = 15.0
"""Seconds between the lines of a long task where there is no terminal."""


class Task:
    """Progress inside one cell or one training."""

    def __init__(self, display: Display, name: str, total: int, bar: TaskID) -> None:
        self._display, self._name, self._total, self._bar = display, name, total, bar
        self._done = 0
        self._left: float | None = None
        self.restart()

    def restart(self) -> None:
        """Say that it begins only now."""
        self._began = self._spoke = time.monotonic()

    def advance(self, count: int) -> None:
        """Say that `count` more are done."""
        self.reach(self._done + count)

    def reach(self, done: int, detail: str = "", *, seconds_left: float | None = None) -> None:
        """Say that `done` are done in all.

        Args:
            done: How many are done, including those of an earlier run.
            detail: Shown behind the bar.
            seconds_left: The task's own estimate; None takes the pace so far.
        """
        self._done, self._left = done, seconds_left
        self._display.show(self._bar, done, detail)
        if time.monotonic() - self._spoke > _QUIET_S and 0 < done < self._total:
            self._spoke = time.monotonic()
            remark = f", {detail}" if detail else ""
            self._display.line(
                f"  {self._name}: {done}/{self._total}{remark}, about {self.left:.0f} s left"
            )

    def end(self, *, done: bool = True) -> None:
        """Say that it is over, with its duration where it was `done`."""
        self._display.end(self._bar, f"{self._name}: {self.seconds:.1f} s" if done else "")

    @property
    def seconds(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float | None:
        """Seconds that it still takes, by its own estimate or its pace; None before it moves."""
        if self._left is None and self._done:
            return self.seconds / self._done * (self._total - self._done)
        return self._left


def _has_widgets() -> bool:
    """Whether a notebook can draw bars; rich warns where it cannot."""
    return find_spec("ipywidgets") is not None


def duration(seconds: float) -> str:
    """A duration for people: `40 s`, `12 min`, `3.4 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _Left(TimeRemainingColumn):
    """The time left: of a task by its pace, of the whole run by the run's own estimate."""

    def render(self, task: RichTask) -> Text:
        if "left" not in task.fields:
            return super().render(task)
        left = task.fields["left"]
        return Text("" if left is None else f"{duration(left)} left")


class Display:
    """Shows what a run is doing.

    Args:
        console: Where to write; bars are drawn when it is a terminal or a notebook with ipywidgets,
            else plain lines.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal or (console.is_jupyter and _has_widgets())
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Left(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._overall = self._bars.add_task("cells", total=None, detail="", left=None)
        self._left: float | None = None
        self._told = time.monotonic()
        self._done = self._total = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, *, total: int, done: int) -> None:
        """Say how many cells the plan has and how many are recorded already."""
        self._total, self._done = total, done
        self._bars.update(self._overall, total=total, completed=done)
        if done:
            self.note(f"{done} of {total} cells are recorded already")

    def advance(self, count: int) -> None:
        """Say that `count` more cells are done."""
        self._done += count
        self._bars.update(self._overall, advance=count)

    def left(self, seconds: float | None) -> None:
        """Say how long all that is left will take; None while nobody knows."""
        self._left = seconds
        self._bars.update(self._overall, left=seconds)

    def begin(self, name: str, *, total: int) -> Task:
        """Show a task, beside others that run; `Task.end` takes it away."""
        return Task(self, name, total, self._bars.add_task(name, total=total, detail=""))

    @contextmanager
    def task(self, name: str, *, total: int) -> Iterator[Task]:
        """Show a task while it runs, and a line with its duration once it is done."""
        task = self.begin(name, total=total)
        yield task
        task.end()

    def show(self, bar: TaskID, done: int, detail: str) -> None:
        """Move the bar of a task."""
        self._bars.update(bar, completed=done, detail=detail)

    def end(self, bar: TaskID, text: str) -> None:
        """Take away the bar of a task; without bars, say in a line that it is done."""
        self._bars.remove_task(bar)
        if text:
            place = f"[{self._done + 1}/{self._total}] " if self._total else ""
            self.line(f"{place}{text}{self._outlook()}")

    def _outlook(self) -> str:
        """How long the run still takes, said now and then."""
        if not self._left or time.monotonic() - self._told < _QUIET_S:
            return ""
        self._told = time.monotonic()
        return f"; about {duration(self._left)} left in all"

    def line(self, text: str) -> None:
        """Write a line where there are no bars."""
        if not self._live:
            self.note(text)

    def note(self, text: str) -> None:
        """Write a line, in a terminal too."""
        self._console.print(
            printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True
        )
