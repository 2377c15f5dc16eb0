"""Commands that show what is known: report, leaderboard, list and costs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchharness.cli.console import err, out, say
from benchharness.cli.options import OPTIONS, Given, takes
from benchharness.cli.rows import print_rows
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchharness.report.choice import Choice
    from benchharness.report.joining import Joined


class Kind(StrEnum):
    """What `bench list` lists."""

    MODELS = "models"
    DATASETS = "datasets"
    ATTACKS = "attacks"
    ARTEFACTS = "artefacts"


class TableFormat(StrEnum):
    """How a leaderboard is shown."""

    MARKDOWN = "markdown"
    CSV = "csv"


def report(
    directory: Annotated[
        Path, typer.Argument(help="Folder that `bench run` wrote to, or a baseline.")
    ] = Path(OPTIONS["out"].default),
    tables: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Tables to show: kinds such as overview, families such as linf, or "
            "perturbations such as pgd, separated by commas. Default: all.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Metrics to show, separated by commas: accuracy, auc, balanced_accuracy.",
        ),
    ] = None,
    figures: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Formats of figures, separated by commas: png, svg, pdf.",
        ),
    ] = "png,svg",
    style: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How figures are set: report, paper (7 pt, no titles), a style of matplotlib, or "
            "a file that ends in .mplstyle.",
        ),
    ] = "report",
    width: Annotated[
        str,
        typer.Option(
            metavar="WIDTH",
            help="Width of figures: column (3.5 inches), page (7.2 inches), or inches. Default: "
            "as their panels need.",
        ),
    ] = "",
    volumes: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Volumes to show that each family of perturbations broke, of each network; 0 for "
            "none. Said or not, they are drawn once; unsaid, slow attacks are left out.",
            show_default="12",
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Show the page on an address of this machine, written anew as a run records "
            "cells, until Ctrl-C. Volumes are drawn if --volumes is given.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Port for --serve; 0 takes a free one.",
            show_default="8200",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Print counts and mean accuracies only, in seconds for stores of any size, and "
            "write no file.",
        ),
    ] = False,
) -> None:
    """Turn records into tables, plots and one page that a browser opens offline."""
    from benchharness import machine, report
    from benchharness.report.page import runtime

    if quick:
        asked = {
            "--tables": tables is not None,
            "--metrics": metrics is not None,
            "--volumes": volumes is not None,
            "--style": style != "report",
            "--width": bool(width),
            "--serve": serve,
            "--port": port is not None,
        }
        _quick(directory, [name for name, given in asked.items() if given])
        return
    if port is not None and not serve:
        raise BenchError("--port is where --serve shows the page. Add --serve.")
    choice = report.Choice.of(
        tables=_names(tables),
        metrics=_names(metrics),
        formats=_names(figures),
        style=style,
        width=width,
        **({} if volumes is None else {"volumes": volumes}),
    )
    if serve:
        _serve(directory, choice, port, draw=volumes is not None)
        return
    written = report.write(
        directory,
        choice=choice,
        draw=_drawing(patient=volumes is not None),
        processes=machine.cores(),
    )
    out.print(written.overview)
    say(f"tables: {written.markdown}")
    say(f"plots:  {written.plots[0].parent}")
    say(f"page:   {written.html}")
    if not runtime.available():
        say(runtime.MISSING)


def _quick(directory: Path, typed: Sequence[str]) -> None:
    from benchharness.report import quick

    if typed:
        raise BenchError(f"--quick shows one table of accuracies. Take {' and '.join(typed)} out.")
    out.print(quick.overview(directory))


def _serve(directory: Path, choice: Choice, port: int | None, *, draw: bool) -> None:
    from benchharness import machine
    from benchharness.report import serving

    drawing = _drawing(patient=True) if draw else None
    live = serving.Live(directory, choice, drawing, machine.cores())
    serving.serve(live, serving.PORT if port is None else port, say)


def _drawing(*, patient: bool) -> Callable[[Path, Mapping[str, tuple[str, ...]]], tuple[str, ...]]:
    """Draws volumes that a report lacks; torch is imported only then."""

    def draw(directory: Path, absent: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        from benchharness.run import broken

        limit = None if patient else broken.PATIENCE
        say(f"volumes: drawing those of {len(absent)} cells")
        missing = broken.draw(directory, absent, patience=limit)
        for line in missing:
            say(line)
        return missing

    return draw


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


def leaderboard(
    directories: Annotated[list[Path], typer.Argument(help="Folders of runs, or baselines.")],
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder for leaderboard.md and leaderboard.csv."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for a static site: a page that ranks by worst cases, and a page of each "
            "store.",
        ),
    ] = None,
    style: Annotated[
        TableFormat,
        typer.Option(
            "--format", metavar="FORMAT", help=f"What to print: {', '.join(TableFormat)}."
        ),
    ] = TableFormat.MARKDOWN,
) -> None:
    """Collect runs of several people in one table; refuses measurements that do not match."""
    from benchharness.disk import explaining, write_atomically
    from benchharness.report.joining import join
    from benchharness.report.leaderboard import leaderboard

    joined = join(directories)
    found = leaderboard(joined)
    typer.echo(found.csv if style is TableFormat.CSV else found.markdown, nl=False)
    if html is not None:
        _write_site(joined, html)
    if out_dir is None:
        return
    with explaining(f"to {out_dir}"):
        out_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(out_dir / "leaderboard.md", found.markdown.encode())
        write_atomically(out_dir / "leaderboard.csv", found.csv.encode())


def _write_site(joined: Joined, folder: Path) -> None:
    from benchharness.disk import explaining, write_atomically
    from benchharness.report.site import INDEX, site

    files = site(joined)
    with explaining(f"to {folder}"):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
    say(f"site: {folder / INDEX}", to=err)


@takes("device")
def costs(
    given: Given,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names or package.module:factory, separated by commas. Default: all.",
        ),
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Voxels per axis, separated by commas.")
    ] = "28,64",
) -> None:
    """Measure parameters, operations, latency and peak memory of networks; prints Markdown."""
    from benchharness.networks import cost_table

    table = cost_table.markdown(
        None if models is None else [name.strip() for name in models.split(",")],
        cost_table.parse_sizes(sizes),
        given.get("device", OPTIONS["device"].default),
        lambda line: say(line, to=err),
    )
    # Markdown for a file: no colours, no line breaks of a terminal's width.
    typer.echo(table)


def list_names(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the known models, datasets, attacks or artefacts."""
    from benchharness.cli.catalogue import catalogue

    found = catalogue(kind.value)
    print_rows(found.columns, found.rows)
    for name, members in found.groups:
        out.print(f"{name} = {', '.join(members)}", markup=False, highlight=False)
