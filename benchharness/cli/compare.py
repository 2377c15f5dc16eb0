"""Commands that compare a run with a reference: compare and ci."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchharness.cli.console import err, out, say
from benchharness.cli.options import Given, takes
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from benchharness.comparison import StoreComparison
    from benchharness.store.source import Source


class Format(StrEnum):
    """How a comparison is shown."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"


Reference = Annotated[Path, typer.Argument(help="The reference: a run's folder or a baseline.")]
Tolerance = Annotated[
    float,
    typer.Option(
        metavar="NUMBER", help="Difference in an endpoint's mean that does not matter, in [0, 1)."
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        metavar="NUMBER", help="Chance of telling two equally good models apart on any endpoint."
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Also fail on missing and on suspect cells.")
]
AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing", help="Pass although the reference has whole families that NEW lacks."
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAMES",
        help="Judge by these, separated by commas. accuracy: argmax, blind to the ranking. auc: "
        "sees a lost ranking, needs volumes of every class. balanced_accuracy: weights classes "
        "alike, the rarest sets the noise. sensitivity: at the threshold frozen on val, of the "
        "positives alone, so the least sure. Each costs no measuring, but Holm shares alpha over "
        "all: with 2 metrics a difference must be up to 1.1 times as large to be found, with 4 up "
        "to 1.2 times.",
    ),
]
Style = Annotated[
    Format,
    typer.Option("--format", metavar="FORMAT", help=f"How to show it: {', '.join(Format)}."),
]


def compare(
    base: Reference,
    new: Annotated[
        Path | None,
        typer.Argument(
            help="What to compare with it: a folder or a baseline. Default: BASE, to compare two "
            "of its recipes, models or seeds.",
            show_default=False,
        ),
    ] = None,
    tolerance: Tolerance = 0.02,
    alpha: Alpha = 0.05,
    metric: Metrics = "accuracy",
    strict: Strict = False,
    allow_missing: AllowMissing = False,
    style: Style = Format.TABLE,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Use only this model of BASE, to compare two models."),
    ] = None,
    new_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use only this model of NEW.")
    ] = None,
    base_recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Use only what this recipe trained in BASE."),
    ] = None,
    new_recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use only what this recipe trained in NEW.")
    ] = None,
    base_seed: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Use only this training seed of BASE. Default: the mean of all."
        ),
    ] = None,
    new_seed: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Use only this training seed of NEW. Default: the mean of all."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a page that opens offline: what got worse, for whom, by the columns "
            "of the data's table, and the weights and versions of both sides.",
        ),
    ] = None,
) -> None:
    """Say whether NEW is worse than BASE: exit code 0 no, 1 yes, 2 not comparable.

    NEW fails, too, if it lacks a whole family that BASE has.
    """
    from benchharness import comparison
    from benchharness.store.opening import open_source

    settings = comparison.Settings(
        tolerance=tolerance,
        alpha=alpha,
        metrics=_names(metric),
        strict=strict,
        allow_missing=allow_missing,
        base_model=base_model,
        new_model=new_model,
        base_recipe=base_recipe,
        new_recipe=new_recipe,
        base_seed=base_seed,
        new_seed=new_seed,
    )
    if new is None:
        if not settings.within_one:
            raise BenchError(
                f"{base} is compared with nothing. Name another folder, or what to compare within "
                "this one: --base-recipe quick --new-recipe adv_pgd."
            )
        new = base
    sources = open_source(base), open_source(new)
    names = settings.called(str(base), str(new))
    result = comparison.compare(*sources, settings, names=names)
    if html is not None:
        _write_page(html, result, *sources)
    _show(result, style)
    raise typer.Exit(result.exit_code)


@takes("checkpoint", "trust", "limit", "data_root", "out", "device", "workers")
def ci(
    given: Given,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="TOML file: what to run; flags win.")
    ],
    baseline: Annotated[
        Path, typer.Option(metavar="PATH", help="The reference: a baseline or a run's folder.")
    ],
    tolerance: Tolerance = 0.02,
    alpha: Alpha = 0.05,
    metric: Metrics = "accuracy",
    strict: Strict = False,
    allow_missing: AllowMissing = False,
    max_minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Start no training and no cell after N minutes."),
    ] = None,
    style: Style = Format.TABLE,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an interrupted run of the same code. Without it --out must not hold "
            "records.",
        ),
    ] = False,
) -> None:
    """Run, compare with a baseline and report.

    Exit code 0: no regression; 1: a regression, a family of the baseline that was not measured, or
    a failed cell; 2: a mistake, or not comparable.
    """
    from benchharness import ci, comparison
    from benchharness.networks import devices
    from benchharness.run.config import load
    from benchharness.run.progress import Display

    devices.keep_memory()
    found = ci.run(
        load(config, given),
        baseline,
        comparison.Settings(
            tolerance=tolerance,
            alpha=alpha,
            metrics=_names(metric),
            strict=strict,
            allow_missing=allow_missing,
        ),
        # Standard output is for the comparison alone.
        Display(err),
        max_minutes=max_minutes,
        resume=resume,
    )
    _show(found.comparison, style)
    for failure in found.summary.failures:
        say(f"failed: {failure}", to=err)
    for line in found.price:
        say(f"budget: {line}", to=err)
    say(f"Gate: {found.files}. Report: {found.report or 'none, every cell failed'}.", to=err)
    raise typer.Exit(found.exit_code)


def _write_page(path: Path, result: StoreComparison, *sources: Source) -> None:
    from benchharness.comparison import page, subgroups
    from benchharness.disk import explaining, write_atomically

    content = page.html(result, subgroups.tables(*sources)).encode()
    with explaining(str(path), "Pass another --html."):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    say(f"page: {path}", to=err)


def _names(metric: str) -> tuple[str, ...]:
    """The names in a list such as `accuracy,auc`."""
    return tuple(name for part in metric.split(",") if (name := part.strip()))


def _show(result: StoreComparison, style: Format) -> None:
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
