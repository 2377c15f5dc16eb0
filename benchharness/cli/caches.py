"""`bench cache`: what this program keeps outside of `--out`, and how to get rid of it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchharness.cli.console import in_bytes, out, say
from benchharness.disk import caches
from benchharness.errors import unknown_name

cache_app = typer.Typer(
    no_args_is_help=True, help="Show and empty the caches of corrupted and prepared volumes."
)

Kind = Annotated[
    str | None,
    typer.Argument(
        help=f"Only this cache: {' or '.join(caches.KINDS)}. Default: all.", metavar="KIND"
    ),
]


@cache_app.command("info")
def cache_info(kind: Kind = None) -> None:
    """Say where the caches are and how much they hold."""
    limit = caches.limit()
    table = Table("Cache", "Files", "Size", "Folder", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[3].overflow = "fold"
    for found in caches.usage(_kinds(kind)):
        table.add_row(found.kind, str(found.files), in_bytes(found.size), str(found.folder))
    out.print(table)
    say(f"{caches.LIMIT} keeps corrupted volumes below {in_bytes(limit)}.")


@cache_app.command("clear")
def cache_clear(kind: Kind = None) -> None:
    """Remove what the caches hold; runs make it again when they need it."""
    for gone in caches.clear(_kinds(kind)):
        say(f"{gone.kind}: {gone.files} files removed, {in_bytes(gone.size)}, from {gone.folder}")


def _kinds(kind: str | None) -> tuple[str, ...]:
    if kind is None:
        return tuple(caches.KINDS)
    if kind not in caches.KINDS:
        raise unknown_name("cache", kind, caches.KINDS)
    return (kind,)
