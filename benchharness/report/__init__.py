"""Records → tables, figures and a page. Derives everything, writes no record, imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from benchharness.disk import write_atomically
from benchharness.errors import BenchError
from benchharness.report import (
    cascades,
    certificates,
    clinical,
    corruptions,
    explanations,
    layout,
    needed,
    origins,
    page,
    plots,
    ranking,
    scores,
    tables,
    transferred,
)
from benchharness.report.collect import collect
from benchharness.report.page import Section
from benchharness.store.cells import TRANSFER_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from benchharness.report.collect import Findings
    from benchharness.report.layout import Table

__all__ = ["Report", "overview", "write"]

NOT_FOR_CLINICAL_USE = (
    "This is a benchmark for research. The MedMNIST datasets are not intended for clinical use, "
    "and no number here says that a model may be used on patients."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The files of a report, and its overview for a terminal."""

    html: Path
    """Everything in one page."""
    markdown: Path
    csv: Path
    """One row a cell."""
    latex: Path
    plots: tuple[Path, ...]
    """PNG and SVG of every figure."""
    overview: RenderableType
    """What `overview` gives, from the same reading of the store."""


def write(store_dir: Path, out: Path | None = None) -> Report:
    """Write the report of a store; the same store gives the same files.

    Args:
        store_dir: Folder of the records.
        out: Where to write; the folder `report` inside the store when None.

    Raises:
        BenchError: When there is nothing to report, or `out` cannot be written.
    """
    findings = collect(store_dir)
    out = store_dir / "report" if out is None else out
    try:
        files = _files(findings)
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out / name, content)
    except OSError as error:
        raise BenchError(
            f"cannot write to {out}: {error.strerror}. Pass another folder."
        ) from error
    return Report(
        html=out / "report.html",
        markdown=out / "summary.md",
        csv=out / "summary.csv",
        latex=out / "summary.tex",
        plots=tuple(out / name for name in files if name.startswith("plots/")),
        overview=_overview(findings),
    )


def _files(findings: Findings) -> dict[str, bytes]:
    sections, introduction = _sections(findings), _introduction(findings)
    title = "Robustness report"
    files = {
        "report.html": page.render(title, introduction, sections).encode(),
        "summary.md": _markdown(title, introduction, sections).encode(),
        "summary.csv": clinical.with_columns(findings).to_csv(index=False).encode(),
        "summary.tex": _latex(sections).encode(),
    }
    harm = corruptions.frame(findings)
    if len(harm):
        files["corruption.csv"] = harm.to_csv(index=False).encode()
    for plot in (plot for section in sections for plot in section.plots):
        files |= {f"plots/{plot.name}.png": plot.png, f"plots/{plot.name}.svg": plot.svg}
    for picture in (picture for section in sections for picture in section.pictures):
        files[f"pictures/{picture.name}.png"] = picture.png
    return files


def overview(store_dir: Path) -> RenderableType:
    """Lay out one compact table a dataset, for `rich.console.Console.print`.

    Raises:
        BenchError: When there is nothing to report.
    """
    return _overview(collect(store_dir))


def _overview(findings: Findings) -> RenderableType:
    parts: list[RenderableType] = []
    for dataset in findings.datasets:
        table = tables.overview(findings, dataset, each_seed=False)
        notes = (Text(f"{note.sign} {note.text}", style="dim") for note in table.notes)
        parts += [_Grid(table), *notes, Text()]
    for row in findings.failed:
        where = f"{row.model}, {row.dataset}, {row.condition}"
        parts.append(Text(f"failed: {where}: {row.record.error}", style="red"))
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Grid:
    """A table in a terminal: a row for each model or, where that is too wide, a column."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # An interval stands below its number, which halves the width of the table.
        rows = [[entry.plain.replace(" [", "\n[") for entry in row] for row in self.table.rows]
        lines = [list(self.table.header), *rows]
        upright = self._draw(lines)
        # rich never measures more than there is room for, so the room is made endless.
        needed = Measurement.get(console, options.update(max_width=10_000), upright).maximum
        fits = needed <= options.max_width
        yield upright if fits else self._draw(list(zip(*lines, strict=True)))

    def _draw(self, lines: Sequence[Sequence[str]]) -> RichTable:
        grid = RichTable(
            title=self.table.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False
        )
        for index, heading in enumerate(lines[0]):
            grid.add_column(Text(heading), justify="right" if index else "left", overflow="fold")
        for line in lines[1:]:
            grid.add_row(*map(Text, line))
        return grid


def _introduction(findings: Findings) -> tuple[str, ...]:
    subsets = [
        f"{key.name} ({key.count} of {key.total} volumes)"
        for key in dict.fromkeys(row.record.cell.dataset for row in findings.rows)
        if key.count < key.total
    ]
    subset = f"Subsets, not whole test sets: {', '.join(subsets)}." if subsets else ""
    counts = (
        f"Cells: {len(findings.rows)}, of which failed: {len(findings.failed)}. "
        f"Models: {len(findings.models)}. Datasets: {len(findings.datasets)}."
    )
    return tuple(text for text in (counts, subset, NOT_FOR_CLINICAL_USE) if text)


def _sections(findings: Findings) -> tuple[Section, ...]:
    sections = []
    if len(scores.averaged(findings)) > 1:
        sections.append(
            Section(
                title="Average over datasets",
                lead=(tables.average(findings),),
                plots=(plots.against_parameters(findings, None),),
            )
        )
    sections += [_dataset(findings, dataset) for dataset in findings.datasets]
    if any(row.record.cell.perturbation.kind == "artefact" for row in findings.rows):
        sections.append(_artefacts())
    if checks := certificates.certificates(findings):
        sections.append(Section(title="Certificates", tables=checks))
    sections += explanations.sections(findings.directory)
    sections.append(Section(title="Model cost", tables=(tables.cost(findings),)))
    if findings.failed:
        sections.append(Section(title="Failed cells", tables=(tables.failed(findings),)))
    sections.append(Section(title="Provenance", tables=origins.provenance(findings)))
    return tuple(sections)


def _artefacts() -> Section:
    """What the artefacts look like: a sheet that `python -m tests.artefacts.gallery` draws."""
    path = resources.files("benchharness.report") / "assets" / "artefacts.png"
    sheet = page.Picture(
        name="artefacts",
        title="Every artefact at five levels",
        caption="The middle slice of one phantom, clean and under every built-in artefact at five "
        "levels.",
        png=path.read_bytes(),
    )
    return Section(title="Artefacts", pictures=(sheet,))


def _dataset(findings: Findings, dataset: str) -> Section:
    lead = [tables.overview(findings, dataset)]
    if len({row.model for row in findings.of(dataset)}) > 1:
        lead.append(ranking.ranking(findings, dataset))
    found = [tables.clean(findings, dataset)]
    for family in findings.families(dataset):
        if family == TRANSFER_FAMILY:
            found += transferred.matrices(findings, dataset)
        elif any(condition.attack for condition in scores.conditions(findings, dataset, family)):
            found.append(tables.attacks(findings, dataset, family))
        found += cascades.tables(findings, dataset, family)
        if needed.attacks(findings, dataset, family):
            found.append(needed.table(findings, dataset, family))
        found.append(tables.by_severity(findings, dataset, family, "accuracy"))
        found.append(tables.by_severity(findings, dataset, family, "auc"))
    if corruptions.harms(findings, dataset):
        lead.append(corruptions.summary(findings, dataset))
        found.append(corruptions.by_artefact(findings, dataset))
    found += [clinical.calibration(findings, dataset), clinical.sensitivity(findings, dataset)]
    key = next(row.record.cell.dataset for row in findings.of(dataset))
    subset = "a subset: every number below is of these alone" if key.count < key.total else "all"
    return Section(
        title=dataset,
        text=f"{key.count} of {key.total} volumes of the {key.split} split ({subset}); modality: "
        f"{key.modality}.",
        lead=tuple(lead),
        plots=tuple(plots.of_dataset(findings, dataset)),
        tables=tuple(found),
    )


def _markdown(title: str, introduction: tuple[str, ...], sections: tuple[Section, ...]) -> str:
    parts = [f"# {title}", *introduction]
    for section in sections:
        parts += [f"## {section.title}", *([section.text] if section.text else [])]
        parts += [layout.markdown(table) for table in section.lead]
        parts += [f"![{plot.title}](plots/{plot.name}.png)" for plot in section.plots]
        parts += [layout.markdown(table) for table in section.tables]
        for picture in section.pictures:
            parts += [f"![{picture.title}](pictures/{picture.name}.png)", picture.caption]
    return "\n\n".join(parts) + "\n"


def _latex(sections: tuple[Section, ...]) -> str:
    found = [
        table
        for s in sections
        if s.title not in ("Certificates", "Provenance")
        for table in (*s.lead, *s.tables)
    ]
    head = "% Needs \\usepackage{booktabs}; unicode in names needs an engine that reads it."
    return "\n\n".join([head, *(layout.latex(table) for table in found)]) + "\n"
