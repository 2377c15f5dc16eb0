"""The commands that judge what was measured: compare, ci, leaderboard and more; `cli` adds them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from benchharness.comparison import StoreComparison

out = Console()

baseline_app = typer.Typer(
    no_args_is_help=True, help="Keep the records of a store in one small file, to be committed."
)
records_app = typer.Typer(no_args_is_help=True, help="Check and join upkeep.")


class Format(StrEnum):
    """How a comparison is shown."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"


class TableFormat(StrEnum):
    """How a leaderboard is shown."""

    MARKDOWN = "markdown"
    CSV = "csv"


Tolerance = Annotated[
    float, typer.Option(help="Difference in mean accuracy that does not matter, in [0, 1).")
]
Alpha = Annotated[
    float, typer.Option(help="Chance that two equally good models are told apart anywhere.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on missing and suspect cells, too.")]
Source = Annotated[
    Path, typer.Argument(help="Folder of a run, or file of a baseline.", show_default=False)
]


def compare_command(
    base: Annotated[Path, typer.Argument(help="The reference: a run's folder or a baseline.")],
    new: Annotated[Path, typer.Argument(help="What is held against it: a folder or a baseline.")],
    tolerance: Tolerance = 0.02,
    alpha: Alpha = 0.05,
    strict: Strict = False,
    style: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.TABLE,
    base_model: Annotated[
        str | None, typer.Option(help="The one model of BASE, to hold another against it.")
    ] = None,
    new_model: Annotated[str | None, typer.Option(help="The one model of NEW.")] = None,
    base_seed: Annotated[
        int | None, typer.Option(help="The one training seed of BASE. Default: all, as a mean.")
    ] = None,
    new_seed: Annotated[int | None, typer.Option(help="The one training seed of NEW.")] = None,
) -> None:
    """Say whether NEW is worse than BASE: exit code 0 no, 1 yes, 2 not comparable."""
    from benchharness import comparison
    from benchharness.store.opening import open_source

    settings = comparison.Settings(
        tolerance=tolerance,
        alpha=alpha,
        strict=strict,
        base_model=base_model,
        new_model=new_model,
        base_seed=base_seed,
        new_seed=new_seed,
    )
    result = comparison.compare(
        open_source(base), open_source(new), settings, names=(str(base), str(new))
    )
    show(result, style)
    raise typer.Exit(result.exit_code)


def show(result: StoreComparison, style: Format) -> None:
    """Write a comparison to standard output."""
    from benchharness.comparison import render

    if style is Format.TABLE:
        out.print(render.table(result))
        return
    texts = {
        Format.MARKDOWN: render.markdown,
        Format.JSON: render.as_json,
        Format.JUNIT: render.junit,
    }
    typer.echo(texts[style](result), nl=False)


@baseline_app.command("save")
def baseline_save(
    store: Source,
    file: Annotated[Path, typer.Argument(help="Where to write it, such as baseline.zip.")],
) -> None:
    """Write the records and packed predictions of a store into one file."""
    from benchharness.store import baseline
    from benchharness.store.opening import open_source

    saved = baseline.save(open_source(store), file)
    out.print(
        f"{len(saved.records())} records, {saved.size / 1000:.0f} kB: {file}",
        highlight=False,
        soft_wrap=True,
    )


@baseline_app.command("show")
def baseline_show(
    file: Annotated[Path, typer.Argument(help="A file that `bench baseline save` wrote.")],
) -> None:
    """Say what a baseline holds."""
    import pandas as pd

    from benchharness.store import baseline, frames

    found = baseline.read(file)
    frame = frames.load_records(file)
    table = Table("Model", "Dataset", "Volumes", "Seed", "Weights", "Cells", "Clean accuracy")
    keys = ["model", "dataset", "dataset_digest", "n", "of", "checkpoint"]
    for _, group in frame.groupby(keys, dropna=False, sort=False):
        first = group.iloc[0]
        clean = group.loc[group["kind"] == "none", "accuracy"].dropna()
        cells = (f"{count} {family}" for family, count in group["family"].value_counts().items())
        table.add_row(
            first["model"],
            first["dataset"],
            f"{first['n']}/{first['of']}",
            "–" if pd.isna(first["seed"]) else f"{first['seed']:g}",
            str(first["checkpoint"])[:12],
            ", ".join(cells),
            f"{clean.iloc[0]:.3f}" if len(clean) else "–",
        )
    out.print(table)
    failed = int((frame["status"] != "ok").sum())
    out.print(
        f"{len(frame)} records ({failed} failed, {int(frame['suspect'].sum())} suspect), "
        f"{found.size / 1000:.0f} kB, written by benchharness {found.written_by}",
        highlight=False,
        soft_wrap=True,
    )


@records_app.command("verify")
def records_verify(
    store: Annotated[Path, typer.Argument(help="Folder of a run, or file of a baseline.")],
) -> None:
    """Check every line, identity, hash and metric: exit code 0 sound, 1 damaged."""
    from benchharness.store import upkeep

    found = upkeep.verify(store)
    for line in (*found.problems, *(f"note: {note}" for note in found.notes)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    verdict = f"{len(found.problems)} problems" if found.problems else "sound"
    out.print(
        f"{store}: {verdict}. {found.records} records, {found.predictions} predictions and "
        f"{found.checkpoints} checkpoints are as recorded.",
        highlight=False,
        soft_wrap=True,
    )
    if found.problems:
        raise typer.Exit(1)


@records_app.command("merge")
def records_merge(
    sources: Annotated[list[Path], typer.Argument(help="Folders of runs, or baselines.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the joined store; may be one of them.")
    ] = None,
) -> None:
    """Join stores, each identity once; none but --out is changed."""
    from benchharness.store import upkeep

    if out_dir is None:
        raise BenchError("say where the joined store goes: --out FOLDER.")
    merged = upkeep.merge(sources, out_dir)
    for line in merged.differing:
        out.print(f"differs: {line}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"{merged.records} records in {out_dir}, {merged.added} of them new, "
        f"{merged.checkpoints} checkpoints copied.",
        highlight=False,
        soft_wrap=True,
    )


def ci_command(
    config: Annotated[Path, typer.Option("--config", help="TOML file: what to run.")],
    baseline: Annotated[Path, typer.Option(help="The reference: a baseline or a run's folder.")],
    tolerance: Tolerance = 0.02,
    alpha: Alpha = 0.05,
    strict: Strict = False,
    limit: Annotated[
        int | None, typer.Option(help="Budget: a stratified subset of so many test volumes.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Budget: start no training or cell after so many minutes.")
    ] = None,
    style: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.TABLE,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of records and reports, without records.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run of the same code.")
    ] = False,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Own weights: model=path or model@dataset=path. May be repeated."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:1.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where MedMNIST archives are.")] = None,
) -> None:
    """Run, compare with a baseline and report: exit code 0 no regression, 1 regression, 2 else."""
    from benchharness import ci, comparison
    from benchharness.run.config import load
    from benchharness.run.progress import Display

    settings = load(
        config,
        {
            "limit": limit,
            "out": out_dir,
            "checkpoints": checkpoint or None,
            "device": device,
            "data_root": data_root,
        },
    )
    found = ci.run(
        settings,
        baseline,
        comparison.Settings(tolerance=tolerance, alpha=alpha, strict=strict),
        # What is compared is the output; how it went is told beside it.
        Display(Console(stderr=True)),
        max_minutes=max_minutes,
        resume=resume,
    )
    show(found.comparison, style)
    err = Console(stderr=True)
    for line in (
        *(f"failed: {failure}" for failure in found.summary.failures),
        *(f"budget: {line}" for line in found.price),
        f"Gate: {found.files}. Report: {found.report or 'none, every cell failed'}.",
    ):
        err.print(line, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


def leaderboard_command(
    directories: Annotated[list[Path], typer.Argument(help="Folders of runs, or baselines.")],
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for leaderboard.md and leaderboard.csv."),
    ] = None,
    style: Annotated[
        TableFormat, typer.Option("--format", help="What to print.")
    ] = TableFormat.MARKDOWN,
) -> None:
    """Collect the stores of many people into one table; what is not the same is refused."""
    from benchharness.disk import write_atomically
    from benchharness.report.leaderboard import leaderboard

    found = leaderboard(directories)
    typer.echo(found.csv if style is TableFormat.CSV else found.markdown, nl=False)
    if out_dir is None:
        return
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(out_dir / "leaderboard.md", found.markdown.encode())
        write_atomically(out_dir / "leaderboard.csv", found.csv.encode())
    except OSError as error:
        raise BenchError(f"cannot write to {out_dir}: {error.strerror}.") from error
