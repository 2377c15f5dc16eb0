"""`bench explain`: heat maps of trained networks."""

from __future__ import annotations

from typing import Annotated

import typer

from benchharness.cli.console import say
from benchharness.cli.options import PREPARATION, TRAINING, ConfigFile, Given, takes

WITHOUT_CONFIG = {"eps": "8/255", "severities": "3"}
"""A heat map of one budget and one level, where neither flags nor a config file say more."""


@takes(
    "models",
    "checkpoint",
    "outputs",
    "trust",
    "zoo",
    "datasets",
    "limit",
    "data_root",
    *PREPARATION,
    "attacks",
    "eps",
    "perturbation_seed",
    "artefacts",
    "severities",
    "fast_artefacts",
    *TRAINING,
    "out",
    "device",
    "batch_size",
    "compile",
    without_config=WITHOUT_CONFIG,
)
def explain(
    given: Given,
    config: ConfigFile = None,
    ids: Annotated[
        str | None,
        typer.Option(metavar="IDS", help="Test volumes to draw, separated by commas."),
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Draw the N volumes with the lowest margins instead. Default: 3."
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="CLASS", help="Class to explain: each volume's label, or what is predicted."
        ),
    ] = "label",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=LAYER",
            help="Layer to map. May be repeated. Default: the network's gradcam_layer.",
        ),
    ] = None,
) -> None:
    """Draw and measure where trained networks look: 3-D Grad-CAM, clean and perturbed."""
    from benchharness.run.config import load

    settings = load(config, given if config else WITHOUT_CONFIG | dict(given))
    from benchharness import explanation
    from benchharness.run.subjects import subjects

    request = explanation.Request.checked(ids=ids, worst=worst, target=target, layers=layer or ())
    for explained in explanation.explain(request, subjects(settings, say), settings.out, say):
        say(
            f"heat maps: {explained.path} and {len(explained.found.pictures)} pictures beside it. "
            f"bench report {settings.out} shows them."
        )
