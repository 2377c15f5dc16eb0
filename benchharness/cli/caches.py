"""`bench cache`: what this program keeps outside of `--out`, and how to get rid of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchharness.cli.console import in_bytes, out, say
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

cache_app = typer.Typer(
    no_args_is_help=True, help="Show and empty the caches of corrupted and prepared volumes."
)

KINDS = {
    "corrupted": "test volumes after an artefact, shared by all models and runs",
    "prepared": "volumes of folders and CSVs on their grid",
}
"""Folders of `disk.cache_folder`; everything in them can be made again."""

Kind = Annotated[
    str | None,
    typer.Argument(help=f"Only this cache: {' or '.join(KINDS)}. Default: all.", metavar="KIND"),
]


@cache_app.command("info")
def cache_info(kind: Kind = None) -> None:
    """Say where the caches are and how much they hold."""
    from benchharness.artefacts.cache import Cache

    table = Table("Cache", "Files", "Size", "Folder", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[3].overflow = "fold"
    for name, folder in _folders(kind):
        sizes = [path.stat().st_size for path in _files(folder)]
        table.add_row(name, str(len(sizes)), in_bytes(sum(sizes)), str(folder))
    out.print(table)
    limit = Cache.of_environment().limit
    say(f"BENCH_CACHE_GIB keeps corrupted volumes below {in_bytes(limit)}.")


@cache_app.command("clear")
def cache_clear(kind: Kind = None) -> None:
    """Remove what the caches hold; runs make it again when they need it."""
    for name, folder in _folders(kind):
        sizes = [_removed(path) for path in list(_files(folder))]
        say(f"{name}: {len(sizes)} files removed, {in_bytes(sum(sizes))}, from {folder}")


def _folders(kind: str | None) -> Iterator[tuple[str, Path]]:
    from benchharness.disk import cache_folder
    from benchharness.errors import unknown_name

    if kind is not None and kind not in KINDS:
        raise unknown_name("cache", kind, KINDS)
    for name in KINDS if kind is None else (kind,):
        yield name, cache_folder(name)


def _files(folder: Path) -> Iterable[Path]:
    """Files that this program wrote, what killed writers left included; locks are held by others.

    Links are left alone: what they point to is not ours.
    """
    if folder.is_symlink() or not folder.is_dir():
        return []
    return (
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".npz", ".json", ".partial") and path.is_file() and not path.is_symlink()
    )


def _removed(path: Path) -> int:
    """Remove a file; returns its bytes, 0 where another process was faster."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise BenchError(f"cannot remove {path}: {error.strerror}.") from error
    return size
