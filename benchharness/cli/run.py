"""`bench run` and `bench train`: measure what is missing, train what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchharness.cli.console import err, in_bytes, out, say
from benchharness.cli.options import OPTIONS, PREPARATION, TRAINING, ConfigFile, Given, takes
from benchharness.errors import BenchError
from benchharness.run.progress import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.run.config import RunConfig
    from benchharness.run.forecast import Forecast
    from benchharness.run.planning import Plan
    from benchharness.run.summary import Summary

_SUSPECTS_SHOWN = 10
"""Most suspect cells that are said, a line each."""


@takes(*OPTIONS)
def run(
    given: Given,
    config: ConfigFile = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would run, its time and disk space; run nothing."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: list every cell, too.")
    ] = False,
) -> None:
    """Measure models × datasets × perturbations; cells already recorded are skipped."""
    from benchharness.run.config import load

    if verbose and not dry_run:
        raise BenchError("--verbose lists the cells of --dry-run. Add --dry-run or leave it out.")
    settings = load(config, given)
    if dry_run:
        _print_plan(settings, verbose=verbose)
        return
    from benchharness.networks import devices
    from benchharness.run import runner
    from benchharness.run.progress import Display

    devices.keep_memory()
    summary = runner.run(settings, Display(out))
    say(
        f"{summary.evaluated} cells run, {summary.recorded} were recorded already, "
        f"{summary.trained} checkpoints trained. Records: {settings.out}"
    )
    _say_controls(summary)
    _say_suspects(summary)
    _exit_with_failures(summary)


@takes(
    "models",
    "outputs",
    "datasets",
    "data_root",
    *PREPARATION,
    *TRAINING,
    "checkpoints_from",
    "shard",
    "out",
    "device",
    "workers",
    "engine",
    "address",
    "cpus_per_worker",
    "gpus_per_worker",
)
def train(given: Given, config: ConfigFile = None) -> None:
    """Train the missing checkpoints and write a model card beside each."""
    from benchharness.networks import devices
    from benchharness.run import runner
    from benchharness.run.config import load
    from benchharness.run.progress import Display

    settings = load(config, given)
    devices.keep_memory()
    summary = runner.train(settings, Display(out))
    say(f"{summary.trained} checkpoints trained, in {settings.out / 'checkpoints'}")
    _exit_with_failures(summary)


def _print_plan(settings: RunConfig, *, verbose: bool) -> None:
    from benchharness.networks import devices
    from benchharness.run.cutting import share_of_cells
    from benchharness.run.estimate import estimate
    from benchharness.run.forecast import forecast
    from benchharness.run.measuring import Setting
    from benchharness.run.runner import recorded_identities
    from benchharness.store.folder import Store

    on_cluster = settings.engine == "ray"
    setting = Setting(
        # What a cluster's devices can do is not known here.
        device="cpu" if on_cluster else devices.several(settings.device)[0],
        batch_size=settings.batch_size,
        compiled=settings.compile,
    )
    planned = share_of_cells(settings)
    recorded = recorded_identities(Store(settings.out))
    for note in planned.notes:
        say(note)
    if verbose:
        _print_cells(planned, recorded)
    found = forecast(planned, recorded, setting)
    out.print(_plan_table(found))
    for line in _plan_lines(found, setting.device):
        say(line)
    several = "," in settings.device or settings.device == devices.ALL
    if settings.workers not in (None, 1) or several or on_cluster:
        say("this is the work of one worker, which several share")
    say(estimate(planned, recorded))


def _print_cells(planned: Plan, recorded: set[str]) -> None:
    from benchharness.store.cells import describe

    for cell in planned.cells:
        state = "recorded" if cell.identity in recorded else "to run"
        state = "to run once trained" if cell.pending else state
        say(f"{state:<20}{describe(cell)}")


def _plan_table(found: Forecast) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("Model", "Dataset"):
        table.add_column(name, overflow="fold")
    for name in ("To run", "Done", "To train", "Controls", "Time", "Disk"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(
            row.model,
            row.dataset,
            str(row.to_run),
            str(row.recorded),
            str(len(row.trainings)),
            str(row.controls),
            "unknown" if row.untimed else duration(row.seconds),
            in_bytes(row.bytes),
        )
    return table


def _plan_lines(found: Forecast, device: str) -> Iterator[str]:
    """What the table does not say."""
    for row in found.rows:
        if row.untimed:
            yield f"{row.model} on {row.dataset} cannot be timed: {row.untimed}"
    total = f"about {duration(found.seconds)} on {device}, {in_bytes(found.bytes)} under --out"
    if any(row.untimed for row in found.rows):
        total += ", without what cannot be timed"
    yield total
    controls = sum(row.controls for row in found.rows)
    if controls:
        seconds = sum(row.control_seconds for row in found.rows)
        yield (
            f"of that, {controls} control cells: at most {duration(seconds)}, since they end at a "
            "volume once it is broken"
        )
    if found.corruption_bytes:
        yield (
            f"of that, corrupted volumes: {duration(found.corruption_seconds)}, and "
            f"{in_bytes(found.corruption_bytes)} in the cache, unless they are there already"
        )


def _say_controls(summary: Summary) -> None:
    if summary.controls:
        took, total = map(duration, (summary.control_seconds, summary.seconds))
        say(f"of that, {summary.controls} control cells: {took} of {total}")


def _say_suspects(summary: Summary) -> None:
    """Say which numbers must not be trusted; a report lists them all."""
    if not summary.suspects:
        return
    say(f"{len(summary.suspects)} suspect, not to be trusted or ranked:")
    for suspect in summary.suspects[:_SUSPECTS_SHOWN]:
        say(f"  {suspect}")
    if (left := len(summary.suspects) - _SUSPECTS_SHOWN) > 0:
        say(f"  and {left} more: see 'bench report'")


def _exit_with_failures(summary: Summary) -> None:
    if not summary.failures:
        return
    say(f"{len(summary.failures)} failed:", to=err)
    for failure in summary.failures:
        say(f"  {failure}", to=err)
    raise typer.Exit(1)
