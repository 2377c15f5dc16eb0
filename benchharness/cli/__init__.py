"""The command line: parse, call, print, exit code; nothing else.

Heavy packages are imported inside the commands, so that `bench --help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from typing import Annotated, NoReturn

import typer

from benchharness import __version__, machine
from benchharness.cli import caches, check, compare, evidence, explain, run, show, stores, zoo
from benchharness.cli.console import say, speak_any_encoding
from benchharness.cli.guard import INTERRUPTED, guarded
from benchharness.cli.options import spelling

app = typer.Typer(
    name="bench",
    help="How robust is a 3-D medical image classifier, and how sure is that?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": spelling},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"benchharness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("run")(run.run)
app.command("train")(run.train)
app.command("check")(check.check)
app.command("explain")(explain.explain)
app.command("report")(show.report)
app.command("list")(show.list_names)
app.command("costs")(show.costs)
app.command("leaderboard")(show.leaderboard)
app.command("compare")(compare.compare)
app.command("ci")(compare.ci)
app.command("reference")(stores.reference)
app.add_typer(evidence.evidence_app, name="evidence")
app.add_typer(stores.baseline_app, name="baseline")
app.add_typer(stores.records_app, name="records")
app.add_typer(zoo.zoo_app, name="zoo")
app.add_typer(caches.cache_app, name="cache")


def main() -> NoReturn:
    """Entry point: a user's mistake is one line and exit code 2, never a traceback."""
    machine.bound()
    speak_any_encoding()
    code = guarded(lambda: app(prog_name="bench", standalone_mode=False))
    if code == INTERRUPTED:
        # A second Ctrl-C would put a traceback behind the last line.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
