"""`bench check`: whether a network gives here what its owner got elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from benchharness.cli.console import err, say
from benchharness.cli.options import PREPARATION, ConfigFile, Given, takes


@takes(
    "models",
    "checkpoint",
    "outputs",
    "datasets",
    "data_root",
    *PREPARATION,
    "seeds",
    "recipes",
    "out",
    "device",
    "batch_size",
)
def check(
    given: Given,
    config: ConfigFile = None,
    *,
    expect: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What you got: logits.npz (logits, perhaps ids and labels) or accuracy=0.87.",
        ),
    ],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="The split that you evaluated.")
    ] = "test",
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Bound on the difference: of logits relative to the largest, of a metric as it "
            "is. Default: 0.001, or half a unit of the last digit typed.",
        ),
    ] = None,
) -> None:
    """Reproduce your own logits or metric before anything is attacked, or say what differs."""
    from benchharness.run.config import load
    from benchharness.run.parity import checking

    verdict = checking.check(
        load(config, given),
        expect,
        split=split,
        tolerance=tolerance,
        note=lambda line: say(line, to=err),
    )
    for line in verdict.lines:
        say(line)
    if not verdict.passed:
        raise typer.Exit(1)
