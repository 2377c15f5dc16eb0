"""`bench run` and `bench train`: measure what is missing, train what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from benchharness.cli.console import err, out, say
from benchharness.cli.options import OPTIONS, PREPARATION, TRAINING, ConfigFile, Given, takes

if TYPE_CHECKING:
    from benchharness.run.config import RunConfig
    from benchharness.run.runner import Summary


@takes(*OPTIONS)
def run(
    given: Given,
    config: ConfigFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and the work; run nothing.")
    ] = False,
) -> None:
    """Measure models × datasets × perturbations; cells already recorded are skipped."""
    from benchharness.run.config import load

    settings = load(config, given)
    if dry_run:
        _print_plan(settings)
        return
    from benchharness.run import runner
    from benchharness.run.progress import Display

    summary = runner.run(settings, Display(out))
    say(
        f"{summary.evaluated} cells run, {summary.recorded} were recorded already, "
        f"{summary.trained} checkpoints trained. Records: {settings.out}"
    )
    _exit_with_failures(summary)


@takes("models", "datasets", "data_root", *PREPARATION, *TRAINING, "out", "device")
def train(given: Given, config: ConfigFile = None) -> None:
    """Train the missing checkpoints and write a model card beside each."""
    from benchharness.run import runner
    from benchharness.run.config import load
    from benchharness.run.progress import Display

    settings = load(config, given)
    summary = runner.train(settings, Display(out))
    say(f"{summary.trained} checkpoints trained, in {settings.out / 'checkpoints'}")
    _exit_with_failures(summary)


def _print_plan(settings: RunConfig) -> None:
    from benchharness.networks import devices
    from benchharness.run.estimate import estimate
    from benchharness.run.planning import plan
    from benchharness.run.runner import recorded_identities
    from benchharness.store.cells import describe
    from benchharness.store.folder import Store

    devices.resolve(settings.device)
    planned = plan(settings)
    recorded = recorded_identities(Store(settings.out))
    for note in planned.notes:
        say(note)
    for cell in planned.cells:
        state = "recorded" if cell.identity in recorded else "to run"
        state = "to run once trained" if cell.pending else state
        say(f"{state:<20}{describe(cell)}")
    say(estimate(planned, recorded))


def _exit_with_failures(summary: Summary) -> None:
    if not summary.failures:
        return
    say(f"{len(summary.failures)} failed:", to=err)
    for failure in summary.failures:
        say(f"  {failure}", to=err)
    raise typer.Exit(1)
