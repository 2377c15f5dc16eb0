"""`bench zoo`: trained checkpoints by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchharness.cli.console import in_bytes, say
from benchharness.cli.rows import print_rows
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.networks.zoo import Entry

zoo_app = typer.Typer(
    no_args_is_help=True, help="Trained checkpoints by name, for `--models MODEL@RECIPE`."
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--zoo",
        metavar="FOLDER",
        help="Folder of the checkpoints beyond those of the package. Default: $BENCH_ZOO, else "
        "the user's cache.",
        show_default=False,
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Such as medvit3d_n@quick. Default: all.", metavar="[NAME]..."),
]


_COLUMNS = (
    "name",
    "dataset",
    "seed",
    "accuracy",
    "AUC",
    "size",
    "SHA-256",
    "licence",
    "where",
)


@zoo_app.command("list")
def zoo_list(names: Names = None, folder: Folder = None) -> None:
    """List the checkpoints: what they were trained on, how well they do, and where they are."""
    from benchharness.networks import zoo

    rows = []
    for entry in _chosen(names, folder):
        card, path = entry.card, zoo.located(entry, folder)
        rows.append(
            (
                entry.name,
                card.dataset,
                str(card.seed),
                _metric(entry, "accuracy"),
                _metric(entry, "auc"),
                in_bytes(entry.size),
                card.sha256[:12],
                entry.licence,
                "to be fetched" if path is None else _place(path),
            )
        )
    print_rows(_COLUMNS, rows)


def _metric(entry: Entry, name: str) -> str:
    value = entry.card.test_metrics.get(name)
    return "–" if value is None else f"{value:.3f}"


def _place(path: Path) -> str:
    from benchharness.networks import zoo

    return "package" if path.parent == zoo.package_folder() else str(path.parent)


@zoo_app.command("get")
def zoo_get(
    names: Names = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FOLDER|URL",
            help="Where the files are. Default: the page that the index names.",
            show_default=False,
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Fetch weights, so that runs need no network; each is held against its digest."""
    from benchharness.networks import zoo

    for entry in _chosen(names, folder):
        there = zoo.located(entry, folder)
        path = zoo.fetch(entry, origin, folder)
        said = "fetched into" if there is None else "is there already, in"
        say(
            f"{entry.name} on {entry.card.dataset}, seed {entry.card.seed}: {said} {_place(path)}, "
            f"{in_bytes(entry.size)}"
        )


def _chosen(names: Sequence[str] | None, folder: Path | None) -> Sequence[Entry]:
    from benchharness.networks import zoo

    if not names:
        return zoo.entries(folder)
    return [entry for name in dict.fromkeys(names) for entry in zoo.find(name, folder)]


@zoo_app.command("add")
def zoo_add(
    store: Annotated[Path, typer.Argument(help="Folder of a bench train or bench run.")],
    names: Names = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Folder of your zoo. Default: the package's own, for maintainers.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of the weights.", show_default=False)
    ] = "",
    source: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Where they come from. Default: the command that trains them.",
            show_default=False,
        ),
    ] = "",
    url: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Page that has the files. Default: none.", show_default=False
        ),
    ] = "",
) -> None:
    """Put a store's finished checkpoints into a zoo, with an index of what they are."""
    from benchharness.networks.zoo.adding import LARGEST, add

    if not licence.strip():
        raise BenchError(
            "--licence is missing. Say under which licence others may use the weights."
        )
    for added in add(store, to, wanted=names or (), licence=licence, source=source, url=url):
        entry = added.entry
        kept = (
            ""
            if added.copied
            else f"; over {in_bytes(LARGEST)}, so only named: {entry.file} belongs on a page"
        )
        say(
            f"{entry.name} on {entry.card.dataset}, seed {entry.card.seed}: "
            f"{in_bytes(entry.size)}{kept}"
        )
