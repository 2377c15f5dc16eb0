"""The charts of a report → its figures, drawn by several processes where that is worth it."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.report.plots.canvas import render

if TYPE_CHECKING:
    from types import TracebackType

    from benchharness.report.charts.chart import Chart
    from benchharness.report.choice import Choice
    from benchharness.report.parts import Plot, Section


class Drawing:
    """Figures that are drawn while the rest of a report is computed.

    Args:
        choice: Their formats and their style.
        processes: How many draw at once; 1 draws here, at the end. More need a main module that
            another process can import, as that of `bench` is. The figures are the same.
    """

    def __init__(self, choice: Choice, processes: int = 1) -> None:
        self._choice = choice
        self._pool = _pool(processes) if processes > 1 else None
        self._begun: list[tuple[Section, list[Chart | Future[Plot]]]] = []

    def __enter__(self) -> Drawing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def begin(self, section: Section) -> None:
        """Take the charts of a section; its figures are drawn from now on."""
        self._begun.append((section, [self._submit(chart) for chart in section.charts]))

    def finished(self) -> tuple[Section, ...]:
        """The sections in their order, with all their figures."""
        return tuple(
            replace(section, plots=tuple(self._drawn(one) for one in drawn))
            for section, drawn in self._begun
        )

    def _submit(self, chart: Chart) -> Chart | Future[Plot]:
        return chart if self._pool is None else self._pool.submit(render, chart, self._choice)

    def _drawn(self, one: Chart | Future[Plot]) -> Plot:
        return one.result() if isinstance(one, Future) else render(one, self._choice)


def _pool(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    made = ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare)
    for _ in range(processes):
        made.submit(_prepare)  # Loading matplotlib takes seconds: begin now.
    return made


def _prepare() -> None:
    """Set up a process that draws."""
    # Ctrl-C reaches every process of a terminal; the one that waits for the others answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What matplotlib's import made stays: looking through it for garbage slows every figure.
    gc.freeze()
