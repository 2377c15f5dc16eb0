"""Commands that keep stores: baseline, records and reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchharness.cli.console import out, say
from benchharness.errors import BenchError

baseline_app = typer.Typer(
    no_args_is_help=True, help="Keep a run's records in one small file that can be committed."
)
records_app = typer.Typer(no_args_is_help=True, help="Check and merge stores.")

_ABSENT_SHOWN = 10
"""Most cells of a plan that are named as absent, a line each."""

Source = Annotated[
    Path, typer.Argument(help="Folder of a run, or file of a baseline.", show_default=False)
]


@baseline_app.command("save")
def baseline_save(
    store: Source,
    file: Annotated[Path, typer.Argument(help="Where to write it, such as baseline.zip.")],
) -> None:
    """Write the records and packed predictions of a store into one file."""
    from benchharness.store import baseline
    from benchharness.store.opening import open_source

    saved = baseline.save(open_source(store), file)
    say(f"{len(saved.records())} records, {saved.size / 1000:.0f} kB: {file}")


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
    say(
        f"{len(frame)} records ({failed} failed, {int(frame['suspect'].sum())} suspect), "
        f"{found.size / 1000:.0f} kB, written by benchharness {found.written_by}"
    )


@records_app.command("verify")
def records_verify(store: Source) -> None:
    """Check every line, hash, metric and model card: exit code 0 sound, 1 damaged."""
    from benchharness.store import upkeep

    found = upkeep.verify(store)
    for problem in found.problems:
        say(problem)
    for note in found.notes:
        say(f"note: {note}")
    verdict = f"{len(found.problems)} problems" if found.problems else "sound"
    say(
        f"{store}: {verdict}. {found.records} records, {found.predictions} predictions and "
        f"{found.checkpoints} checkpoints are as recorded."
    )
    if found.problems:
        raise typer.Exit(1)


@records_app.command("merge")
def records_merge(
    sources: Annotated[list[Path], typer.Argument(help="Folders of runs, or baselines.")],
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder of the merged store; may be one of the sources."
        ),
    ] = None,
) -> None:
    """Merge stores, keeping each identity once; only --out is changed."""
    from benchharness.store.merging import merge

    if out_dir is None:
        raise BenchError("say where the merged store goes: --out FOLDER.")
    merged = merge(sources, out_dir)
    for line in merged.differing:
        say(f"differs: {line}")
    for line in merged.skipped:
        say(f"skipped: {line}")
    for absent in merged.absent:
        say(
            f"absent: {len(absent.names)} of {absent.of} of a plan in shares, of share "
            f"{', '.join(absent.shares)}. Run these with --shard and merge them, too."
        )
        for name in absent.names[:_ABSENT_SHOWN]:
            say(f"  {name}")
        if (left := len(absent.names) - _ABSENT_SHOWN) > 0:
            say(f"  and {left} more")
    say(
        f"{merged.records} records in {out_dir}, {merged.added} of them new, "
        f"{merged.checkpoints} checkpoints copied."
    )


def reference(
    directory: Annotated[Path, typer.Argument(help="Folder that `bench run` wrote to.")],
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where to write. Default: the package's own."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="SEED", help="Training seed of the reference network.")
    ] = 0,
) -> None:
    """Make the reference predictions that corruption errors are divided by."""
    from benchharness.store import reference

    for card in reference.save(directory, out_dir, seed=seed):
        say(card)
