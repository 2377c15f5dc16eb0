"""The command line: parse, call, print, exit code; nothing else.

Heavy packages are imported inside the commands, so that `bench --help` answers at once.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchharness import __version__
from benchharness.cli import evidence
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from benchharness.run.config import RunConfig
    from benchharness.run.runner import Summary

app = typer.Typer(
    name="bench",
    help="How robust is a 3-D medical image classifier, and how sure is that?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


class Kind(StrEnum):
    """What `bench list` lists."""

    MODELS = "models"
    DATASETS = "datasets"
    ATTACKS = "attacks"
    ARTEFACTS = "artefacts"


Models = Annotated[str | None, typer.Option(help="Names or module:factory, separated by commas.")]
Datasets = Annotated[
    str | None,
    typer.Option(help="Names, groups, or paths of an .npz, a folder or a CSV. Default: phantom3d."),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="How to train: quick, medmnist, medmnist2d. Default: the dataset's."),
]
Seeds = Annotated[str | None, typer.Option(help="Training seeds, such as 0,1,2. Default: 0.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:1. Default: auto.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder of records, predictions and checkpoints. Default: results/local."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Where MedMNIST archives are. Default: $BENCH_DATA_ROOT, else ~/.medmnist."),
]
Size = Annotated[
    str | None,
    typer.Option(help="Grid of a folder's or CSV's volumes: 28, or 16,64,64. Default: 28."),
]
Spacing = Annotated[
    str | None,
    typer.Option(help="Their spacing in mm: 1.5, or 3,1,1, or fit. Default: fit."),
]
Window = Annotated[
    str | None,
    typer.Option(
        help="Their intensities: percentiles:LOW,HIGH or ct:LEVEL,WIDTH. "
        "Default: percentiles:0.5,99.5."
    ),
]
ModalityName = Annotated[
    str | None, typer.Option("--modality", help="What they show: mri, ct, … Default: unknown.")
]
Init = Annotated[
    list[str] | None,
    typer.Option(help="Weights to begin training from: path or model=path. May be repeated."),
]
InitMethod = Annotated[
    str | None,
    typer.Option(help="How a network takes them over; MedViT-3D: centre or mean. Default: centre."),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with the same keys; flags win.")
]


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"benchharness {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("run")
def run_command(
    models: Models = None,
    datasets: Datasets = None,
    attacks: Annotated[
        str | None, typer.Option(help="Attacks, separated by commas, or all.")
    ] = None,
    eps: Annotated[
        str | None, typer.Option(help="Budgets of the attacks. Default: 2/255,8/255.")
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(help="Voxels, slices or sides of the sparse attacks. Default: 4,16."),
    ] = None,
    accuracy_only: Annotated[
        bool,
        typer.Option(
            "--accuracy-only", help="Attack only what is still right at smaller budgets; no AUC."
        ),
    ] = False,
    artefacts: Annotated[
        str | None,
        typer.Option(
            "--artefacts", "--artifacts", help="Artefacts, or all, mr, ct, general, geometric."
        ),
    ] = None,
    severities: Annotated[
        str | None, typer.Option(help="Levels of the artefacts. Default: 1-5.")
    ] = None,
    fast_artefacts: Annotated[
        bool,
        typer.Option(
            "--fast-artefacts", help="Batched on the device where possible: cells of their own."
        ),
    ] = False,
    seeds: Seeds = None,
    perturbation_seed: Annotated[
        int | None, typer.Option(help="Seed of attacks and artefacts. Default: 0.")
    ] = None,
    recipe: Recipe = None,
    limit: Annotated[
        int | None, typer.Option(help="Evaluate a stratified subset of so many test volumes.")
    ] = None,
    device: Device = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Volumes a forward pass, or auto. Default: auto.")
    ] = None,
    compile_networks: Annotated[
        bool,
        typer.Option("--compile", help="Evaluate through torch.compile; CUDA graphs on a GPU."),
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of records, predictions and checkpoints. Default: results/local."
        ),
    ] = None,
    data_root: DataRoot = None,
    size: Size = None,
    spacing: Spacing = None,
    window: Window = None,
    modality: ModalityName = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Own weights: model=path or model@dataset=path. May be repeated."),
    ] = None,
    init: Init = None,
    init_method: InitMethod = None,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Refuse instead of training what is missing.")
    ] = False,
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and the work, run nothing.")
    ] = False,
) -> None:
    """Measure models × datasets × perturbations; only what is not recorded yet is run."""
    from benchharness.run.config import load

    settings = load(
        config,
        {
            "models": models,
            "datasets": datasets,
            "attacks": attacks,
            "eps": eps,
            "counts": counts,
            "accuracy_only": True if accuracy_only else None,
            "artefacts": artefacts,
            "severities": severities,
            "fast_artefacts": True if fast_artefacts else None,
            "seeds": seeds,
            "perturbation_seed": perturbation_seed,
            "recipe": recipe,
            "limit": limit,
            "device": device,
            "compile": True if compile_networks else None,
            "batch_size": batch_size,
            "out": out_dir,
            "data_root": data_root,
            "size": size,
            "spacing": spacing,
            "window": window,
            "modality": modality,
            "checkpoints": checkpoint or None,
            "init": init or None,
            "init_method": init_method,
            "train": False if no_train else None,
        },
    )
    if dry_run:
        _print_plan(settings)
        return
    from benchharness.run import runner
    from benchharness.run.progress import Display

    summary = runner.run(settings, Display(out))
    _print_summary(summary, settings)


@app.command("train")
def train_command(
    models: Models = None,
    datasets: Datasets = None,
    recipe: Recipe = None,
    seeds: Seeds = None,
    device: Device = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to keep them in. Default: results/local.")
    ] = None,
    data_root: DataRoot = None,
    size: Size = None,
    spacing: Spacing = None,
    window: Window = None,
    modality: ModalityName = None,
    init: Init = None,
    init_method: InitMethod = None,
    config: Config = None,
) -> None:
    """Train checkpoints that are missing, and write each with its model card."""
    from benchharness.run import runner
    from benchharness.run.config import load
    from benchharness.run.progress import Display

    settings = load(
        config,
        {
            "models": models,
            "datasets": datasets,
            "recipe": recipe,
            "seeds": seeds,
            "device": device,
            "out": out_dir,
            "data_root": data_root,
            "size": size,
            "spacing": spacing,
            "window": window,
            "modality": modality,
            "init": init or None,
            "init_method": init_method,
        },
    )
    summary = runner.train(settings, Display(out))
    out.print(
        f"{summary.trained} checkpoints trained, in {settings.out / 'checkpoints'}",
        highlight=False,
        soft_wrap=True,
    )
    _exit_with_failures(summary)


@app.command("explain")
def explain_command(
    models: Models = None,
    datasets: Annotated[
        str | None,
        typer.Option("--datasets", "--dataset", help="Names or paths. Default: phantom3d."),
    ] = None,
    ids: Annotated[
        str | None, typer.Option(help="Test volumes to draw, separated by commas.")
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(help="Draw so many volumes of the lowest margin instead. Default: 3."),
    ] = None,
    attacks: Annotated[
        str | None, typer.Option("--attacks", "--attack", help="Attacks, separated by commas.")
    ] = None,
    eps: Annotated[str | None, typer.Option(help="Budgets of the attacks. Default: 8/255.")] = None,
    artefacts: Annotated[
        str | None,
        typer.Option("--artefacts", "--artefact", "--artifacts", "--artifact", help="Artefacts."),
    ] = None,
    severities: Annotated[
        str | None,
        typer.Option("--severities", "--severity", help="Levels of the artefacts. Default: 3."),
    ] = None,
    target: Annotated[
        str, typer.Option(help="Class to explain: each volume's label, or what is predicted.")
    ] = "label",
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Where to look: model=layer. Default: the network's gradcam_layer."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Measure a stratified subset of so many test volumes.")
    ] = None,
    seeds: Seeds = None,
    perturbation_seed: Annotated[
        int | None, typer.Option(help="Seed of attacks and artefacts. Default: 0.")
    ] = None,
    recipe: Recipe = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Own weights: model=path or model@dataset=path. May be repeated."),
    ] = None,
    init: Init = None,
    init_method: InitMethod = None,
    device: Device = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Volumes a forward pass, or auto. Default: auto.")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder that `bench run` wrote to. Default: results/local."),
    ] = None,
    data_root: DataRoot = None,
    size: Size = None,
    spacing: Spacing = None,
    window: Window = None,
    modality: ModalityName = None,
    config: Config = None,
) -> None:
    """Draw and measure where trained networks look: 3-D Grad-CAM, clean and perturbed."""
    from benchharness.run.config import load

    settings = load(
        config,
        {
            "models": models,
            "datasets": datasets,
            "attacks": attacks,
            "eps": eps or (None if config else "8/255"),
            "artefacts": artefacts,
            "severities": severities or (None if config else "3"),
            "limit": limit,
            "seeds": seeds,
            "perturbation_seed": perturbation_seed,
            "recipe": recipe,
            "checkpoints": checkpoint or None,
            "init": init or None,
            "init_method": init_method,
            "device": device,
            "batch_size": batch_size,
            "size": size,
            "spacing": spacing,
            "window": window,
            "modality": modality,
            "out": out_dir,
            "data_root": data_root,
        },
    )
    from benchharness import explanation
    from benchharness.run.subjects import subjects

    def note(line: str) -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    request = explanation.Request.checked(ids=ids, worst=worst, target=target, layers=layer or ())
    for explained in explanation.explain(request, subjects(settings, note), settings.out, note):
        out.print(
            f"heat maps: {explained.path} and {len(explained.found.pictures)} pictures beside it. "
            f"bench report {settings.out} shows them.",
            highlight=False,
            soft_wrap=True,
        )


@app.command("report")
def report_command(
    directory: Annotated[Path, typer.Argument(help="Folder that `bench run` wrote to.")] = Path(
        "results/local"
    ),
) -> None:
    """Turn records into tables, plots and one page that a browser opens offline."""
    from benchharness import report

    written = report.write(directory)
    out.print(written.overview)
    for what, where in (
        ("tables", written.markdown),
        ("plots", written.plots[0].parent),
        ("page", written.html),
    ):
        out.print(f"{what + ':':<8}{where}", highlight=False, soft_wrap=True)


@app.command("reference")
def reference_command(
    directory: Annotated[Path, typer.Argument(help="Folder that `bench run` wrote to.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to. Default: the package's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Training seed of the reference network.")] = 0,
) -> None:
    """Make the reference predictions that corruption errors are divided by."""
    from benchharness.store import reference

    for card in reference.save(directory, out_dir, seed=seed):
        out.print(f"{card}", highlight=False, soft_wrap=True)


@app.command("costs")
def costs_command(
    models: Annotated[
        str | None, typer.Option(help="Names or module:factory, separated by commas. Default: all.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Voxels per axis, separated by commas.")] = "28,64",
    device: Device = None,
) -> None:
    """Measure parameters, operations, latency and peak memory of networks; prints Markdown."""
    from benchharness.networks import cost_table

    table = cost_table.markdown(
        None if models is None else [name.strip() for name in models.split(",")],
        cost_table.parse_sizes(sizes),
        device or "auto",
        lambda line: err.print(line, markup=False, highlight=False),
    )
    # Markdown for a file: no colours, no line breaks of a terminal's width.
    typer.echo(table)


@app.command("list")
def list_command(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """Show the models, datasets, attacks or artefacts that there are."""
    from benchharness.cli.catalogue import catalogue

    found = catalogue(kind.value)
    table = Table(*found.columns)
    for row in found.rows:
        table.add_row(*row)
    # rich never measures more than there is room for, so the room is made endless.
    endless = out.options.update(max_width=10_000)
    if Measurement.get(out, endless, table).maximum <= out.width:
        out.print(table)
    else:
        _print_blocks(found.columns, found.rows)
    for name, members in found.groups:
        out.print(f"{name} = {', '.join(members)}", highlight=False)


def _print_blocks(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    """A paragraph a row, for terminals that are narrower than the table."""
    width = max(map(len, columns[1:])) + 2
    for row in rows:
        out.print(row[0], style="bold", highlight=False, markup=False)
        grid = Table.grid(padding=(0, 0))
        grid.add_column(width=width + 2, no_wrap=True)
        grid.add_column()
        for column, field in zip(columns[1:], row[1:], strict=True):
            grid.add_row(Text(f"  {column}"), Text(field))
        out.print(grid)


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
        out.print(note, highlight=False, soft_wrap=True)
    for cell in planned.cells:
        state = "recorded" if cell.identity in recorded else "to run"
        state = "to run once trained" if cell.pending else state
        out.print(f"{state:<20}{describe(cell)}", highlight=False, soft_wrap=True)
    out.print(str(estimate(planned, recorded)), highlight=False, soft_wrap=True)


def _print_summary(summary: Summary, settings: RunConfig) -> None:
    out.print(
        f"{summary.evaluated} cells run, {summary.recorded} were recorded already, "
        f"{summary.trained} checkpoints trained. Records: {settings.out}",
        highlight=False,
        soft_wrap=True,
    )
    _exit_with_failures(summary)


def _exit_with_failures(summary: Summary) -> None:
    if not summary.failures:
        return
    err.print(f"{len(summary.failures)} failed:", highlight=False)
    for failure in summary.failures:
        err.print(f"  {failure}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


app.command("compare")(evidence.compare_command)
app.command("ci")(evidence.ci_command)
app.command("leaderboard")(evidence.leaderboard_command)
app.add_typer(evidence.baseline_app, name="baseline")
app.add_typer(evidence.records_app, name="records")


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, never a traceback."""
    try:
        app()
    except BenchError as error:
        err.print(f"bench: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("bench: interrupted. The same command goes on from here.", highlight=False)
        sys.exit(130)
