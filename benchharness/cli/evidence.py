"""Commands that write evidence and verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchharness.cli.console import err, out, say

_WRITE = "write"


class _Evidence(TyperGroup):
    """`bench evidence RUN` is `bench evidence write RUN`."""

    usual = _WRITE

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and "--help" not in args[:1]:
            args = [_WRITE, *args]
        return super().parse_args(ctx, args)


evidence_app = typer.Typer(
    cls=_Evidence,
    no_args_is_help=True,
    help="Hold a run against signed claims and write what can be filed: bench evidence RUN "
    "--claims claims.toml.",
)

_COLOURS = {"met": "green", "not met": "red", "not shown": "yellow"}


@evidence_app.command(_WRITE)
def write(
    directory: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder that `bench run` wrote to.", show_default=False),
    ],
    claims: Annotated[
        Path, typer.Option(metavar="FILE", help="TOML file: the product, groups and claims.")
    ],
    out_dir: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder to write, new or empty; the zip lies beside it."
        ),
    ] = Path("evidence"),
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Secret key of minisign that signs the manifest; its password, if it has one, is "
            "read from BENCH_KEY_PASSWORD. Default: not signed.",
        ),
    ] = None,
) -> None:
    """Judge claims on a run and write a dossier: folder and zip.

    Exit code 0: every claim is met; 1: one is not met or not shown; 2: a mistake.
    """
    from benchharness.evidence import dossier

    written = dossier.write(directory, claims, out_dir, key=key)
    for line in dossier.summary(written.evidence):
        verdict = line.partition(":")[0]
        out.print(line, style=_COLOURS.get(verdict, ""), markup=False, highlight=False)
    signed = "signed" if written.signed else "not signed"
    say(f"Evidence: {written.folder} and {written.archive}, {signed}.", to=err)
    met = all(outcome.verdict == "met" for outcome in written.evidence.outcomes)
    raise typer.Exit(0 if met else 1)


@evidence_app.command("verify")
def verify(
    path: Annotated[
        Path,
        typer.Argument(help="Folder or zip that `bench evidence` wrote.", show_default=False),
    ],
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Public key of minisign that must have signed it. Default: the signature is not "
            "looked at.",
        ),
    ] = None,
) -> None:
    """Find changed, missing and added files: exit code 0 none, 1 some, 2 unreadable or unsigned."""
    from benchharness.evidence.verifying import verify

    found = verify(path, public_key)
    for line in found.differences.lines:
        say(line)
    state = "as written" if found.sound else "not as written"
    say(f"{path}: {found.differences.files} files, {state}; {found.signature}.")
    raise typer.Exit(0 if found.sound else 1)
