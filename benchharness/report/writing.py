"""A store's report as files: one page, Markdown, CSV, LaTeX, and every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from benchharness.disk import explaining, write_atomically
from benchharness.report.choice import EVERYTHING
from benchharness.report.collect import collect
from benchharness.report.formats import frame, latex, markdown, page, spreadsheet, terminal
from benchharness.report.introduction import TITLE, caveats, introduction
from benchharness.report.page import opening, runtime, volumes
from benchharness.report.plots import styles
from benchharness.report.plots.rendering import Drawing
from benchharness.report.sections import one_by_one
from benchharness.report.tables import corruptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from benchharness.report.cells.findings import Findings
    from benchharness.report.choice import Choice
    from benchharness.report.parts import Section

    Draw = Callable[[Path, Mapping[str, tuple[str, ...]]], tuple[str, ...]]


_MANY = 150
"""Cells from which on other processes draw: loading matplotlib takes as long as six figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The files of a report, and its overview for a terminal."""

    html: Path
    """Everything in one page."""
    markdown: Path
    csv: Path
    """One row for each cell."""
    latex: Path
    plots: tuple[Path, ...]
    """Every figure in the formats that were asked for, and its numbers as CSV."""
    overview: RenderableType
    """What `overview` gives, from the same reading of the store."""


def write(
    store_dir: Path,
    out: Path | None = None,
    *,
    choice: Choice = EVERYTHING,
    draw: Draw | None = None,
    processes: int = 1,
) -> Report:
    """Write the report of a store; the same store gives the same files.

    Args:
        store_dir: Folder of the records, or a baseline.
        out: Where to write; when None, the folder `report` inside the store, or `NAME-report`
            beside a baseline `NAME.zip`.
        choice: Which tables and metrics, which formats of figures, and how many volumes. CSV files
            hold everything.
        draw: Makes pictures of volumes that the store does not hold yet, and says why some are
            missing. None shows those that it holds.
        processes: How many may draw figures at once; see `plots.rendering`.

    Raises:
        BenchError: When there is nothing to report, a chosen table is none of the report's, the
            style or width of figures is none, or `out` cannot be written.
    """
    styles.check(choice.style, choice.width)
    findings = collect(store_dir)
    out = _beside(store_dir) if out is None else out
    files = _files(findings, choice, _missing(findings, choice, draw), processes)
    with explaining(f"to {out}", "Pass another folder."):
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out / name, content)
    return Report(
        html=out / "report.html",
        markdown=out / "summary.md",
        csv=out / "summary.csv",
        latex=out / "summary.tex",
        plots=tuple(out / name for name in files if name.startswith("plots/")),
        overview=terminal.laid_out(findings),
    )


def _beside(store: Path) -> Path:
    return store.with_name(f"{store.stem}-report") if store.is_file() else store / "report"


def _missing(findings: Findings, choice: Choice, draw: Draw | None) -> tuple[str, ...]:
    """Draw volumes that are missing; returns why some still are, a sentence each."""
    if not choice.volumes:
        return ("No volumes were asked for.",)
    if not findings.directory.is_dir():
        return ()
    absent = volumes.missing(findings, volumes.wanted(findings, choice.volumes))
    if not absent:
        return ()
    if draw is None:
        return volumes.undrawn(absent)
    return draw(findings.directory, absent)


def _files(
    findings: Findings, choice: Choice, reasons: Sequence[str], processes: int
) -> dict[str, bytes]:
    """The content of every file, by its path inside the report."""
    processes = processes if len(findings.rows) >= _MANY else 1
    # Products are small here: a second thread would only keep figures from being drawn.
    with threadpool_limits(1, user_api="blas"), Drawing(choice, processes) as drawing:
        for section in one_by_one(findings, choice):
            drawing.begin(section)
        first = opening(findings, volumes.wanted(findings, choice.volumes), reasons)
        numbers = spreadsheet.document(frame.frame(findings)).encode()
        harm = corruptions.frame(findings)
        runtime.script()  # Takes a second, in which figures are drawn.
        found = drawing.finished()
    said = introduction(findings)
    files = {
        "report.html": page.document(TITLE, caveats(findings), found, first).encode(),
        "summary.md": markdown.document(TITLE, said, found).encode(),
        "summary.csv": numbers,
        "summary.tex": latex.document(found).encode(),
    }
    if len(harm):
        files["corruption.csv"] = spreadsheet.document(harm).encode()
    return files | dict(_figures(found))


def _figures(found: Sequence[Section]) -> Iterator[tuple[str, bytes]]:
    for section in found:
        for plot in section.plots:
            for kind, content in plot.files:
                yield f"plots/{plot.name}.{kind}", content
            yield f"plots/{plot.name}.csv", spreadsheet.document(plot.chart.frame()).encode()
        for picture in section.pictures:
            yield f"pictures/{picture.name}.png", picture.png
