"""A store's report as files: one page, Markdown, CSV, LaTeX, and every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.disk import explaining, write_atomically
from benchharness.report.choice import EVERYTHING
from benchharness.report.collect import collect
from benchharness.report.formats import frame, latex, markdown, page, spreadsheet, terminal
from benchharness.report.introduction import TITLE, caveats, introduction
from benchharness.report.page import opening, volumes
from benchharness.report.sections import sections
from benchharness.report.tables import corruptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from benchharness.report.cells.findings import Findings
    from benchharness.report.choice import Choice
    from benchharness.report.parts import Section

    Draw = Callable[[Path, Mapping[str, tuple[str, ...]]], tuple[str, ...]]


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
    """PNG and SVG of every figure, and PDF where it was asked for."""
    overview: RenderableType
    """What `overview` gives, from the same reading of the store."""


def write(
    store_dir: Path,
    out: Path | None = None,
    *,
    choice: Choice = EVERYTHING,
    draw: Draw | None = None,
) -> Report:
    """Write the report of a store; the same store gives the same files.

    Args:
        store_dir: Folder of the records.
        out: Where to write; the folder `report` inside the store when None.
        choice: Which tables and metrics, which formats of figures, and how many volumes. CSV files
            hold everything.
        draw: Makes pictures of volumes that the store does not hold yet, and says why some are
            missing. None shows those that it holds.

    Raises:
        BenchError: When there is nothing to report, a chosen table is none of the report's, or
            `out` cannot be written.
    """
    findings = collect(store_dir)
    out = store_dir / "report" if out is None else out
    files = _files(findings, choice, _missing(findings, choice, draw))
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
        return (f"Volumes of {len(absent)} cells are not drawn: type bench report for them.",)
    return draw(findings.directory, absent)


def _files(findings: Findings, choice: Choice, reasons: Sequence[str]) -> dict[str, bytes]:
    """The content of every file, by its path inside the report."""
    first = opening(findings, volumes.wanted(findings, choice.volumes), reasons)
    found, said = sections(findings, choice), introduction(findings)
    files = {
        "report.html": page.document(TITLE, caveats(findings), found, first).encode(),
        "summary.md": markdown.document(TITLE, said, found).encode(),
        "summary.csv": spreadsheet.document(frame.frame(findings)).encode(),
        "summary.tex": latex.document(found).encode(),
    }
    harm = corruptions.frame(findings)
    if len(harm):
        files["corruption.csv"] = spreadsheet.document(harm).encode()
    return files | dict(_figures(found))


def _figures(found: Sequence[Section]) -> Iterator[tuple[str, bytes]]:
    for section in found:
        for plot in section.plots:
            yield f"plots/{plot.name}.png", plot.png
            yield f"plots/{plot.name}.svg", plot.svg
            if plot.pdf is not None:
                yield f"plots/{plot.name}.pdf", plot.pdf
        for picture in section.pictures:
            yield f"pictures/{picture.name}.png", picture.png
