"""Whatever happens, a command ends in one line and an exit code that means what the page says."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.table import Table

from benchharness.cli import console
from benchharness.cli.guard import guarded
from benchharness.outside.escaping import printable
from benchharness.run.progress import Display
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
SMALL = ("run", "--models", "tests.samples:tiny", "--device", "cpu", "--recipe", "quick")


def started(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[bytes]:
    """`python -m benchharness` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchharness", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out/x"),
            2,
            "cannot use out/x: No space",
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), 2, "File name too long"),
        (PermissionError(errno.EACCES, "Permission denied", "a[/x]b"), 2, r"cannot use a\[/x\]b"),
        (TimeoutError("no answer"), 2, "no answer"),
        (MemoryError(), 2, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("a [red]fault[/red]\nin two lines"), 3, r"a \[red\]fault\[/red\] in two"),
        (RecursionError("too deep"), 3, "RecursionError: too deep"),
        (SystemExit(0), 3, "SystemExit: 0"),
        (SystemExit("bye"), 3, "SystemExit: bye"),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "bad"), 3, "UnicodeDecodeError"),
    ],
)
def test_everything_that_is_raised_becomes_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert guarded(raising(error)) == code
    out, line = capsys.readouterr()
    assert out == ""
    assert line.startswith("bench: ")
    assert line.count("\n") == 1
    assert re.search(said, line)
    if code == 3:
        (saved,) = re.findall(r"the traceback is in (\S+)\.$", line)
        assert "Traceback (most recent call last)" in Path(saved).read_text(encoding="utf-8")
        Path(saved).unlink()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rnu",), "No such command 'rnu'. Did you mean 'run'? See bench --help."),
        (("run", "--modles", "x"), "No such option: --modles"),
        (("run", "--limit", "x"), "See bench run --help."),
        (("list", "[/x]"), "'[/x]' is not one of"),
        (("report", "x" * 300), "File name too long."),
        (("compare", "[/a]"), "[/a] is compared with nothing. Name another folder"),
        (("baseline", "show", "[/a]"), "[/a]"),
        (("records", "merge"), "See bench records merge --help."),
    ],
)
def test_a_command_line_that_is_wrong_is_one_line(
    bench: Bench, arguments: tuple[str, ...], said: str
) -> None:
    code, out, error = bench(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("bench: ")
    assert error.count("\n") == 1
    assert said in error


def test_no_command_shows_the_help(bench: Bench) -> None:
    code, out, error = bench()
    assert code == 2
    assert "Usage: bench" in out + error


def test_module_and_completion(tmp_path: Path) -> None:
    process = started("--help", cwd=tmp_path)
    out, error = process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert b"Usage: bench " in out
    assert b"--install-completion" in out


SEVERAL = """
import sys
from benchharness import cli
codes = []
for line in ("--help", "run --help", "list attacks", "costs --sizes \\N{MULTIPLICATION SIGN}"):
    sys.argv = ["bench", *line.split()]
    try:
        cli.main()
    except SystemExit as stop:
        codes.append(stop.code or 0)
print("codes", codes)
"""
"""Several commands in a process of its own, which costs less than one process for each."""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_terminal_that_lacks_our_signs_gets_the_nearest(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == b"codes [0, 0, 0, 2]"
    assert done.stderr.count(b"\n") == 1
    if environment.get("PYTHONIOENCODING") != "latin-1":
        assert (done.stdout + done.stderr).isascii()
    assert b"models x datasets" in done.stdout.replace("×".encode("latin-1"), b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["list artefacts", "--help", "--version", "costs --sizes x"])
def test_a_full_standard_output_is_one_line(tmp_path: Path, arguments: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "benchharness", *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"bench: ")


def test_a_reader_that_leaves_is_no_failed_cell(tmp_path: Path) -> None:
    process = started("list", "attacks", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() != 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_an_interrupted_run_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    samples.write_archive(tmp_path / "data.npz")
    arguments = (*SMALL, "--datasets", "data.npz", "--attacks", "autoattack3d", "--eps", "0.001")
    process = started(*arguments, cwd=tmp_path)
    assert process.stdout is not None
    # Python drops an interrupt that meets the clean-up of an import; the first cell is past these.
    while not process.stdout.readline().startswith(b"[1/"):
        pass
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.decode().splitlines() == [
        "bench: interrupted. What is finished is kept; the same command goes on from there."
    ]


MARKUP = "[/x] [red] [bold]:smile: [link=a]"


def test_no_way_to_a_terminal_reads_markup() -> None:
    """Not in text, in tables, or in the bars of a run."""
    said = io.StringIO()
    for made in (console.out, console.err):
        console.say(MARKUP, to=made)  # raises where markup is read
        assert made.render_str(MARKUP).plain == MARKUP
        table = Table(MARKUP)
        table.add_row(MARKUP)
        with made.capture() as caught:
            made.print(table, width=200)
        assert caught.get().count(MARKUP) == 2
    shown = Display(Console(file=said, force_terminal=True, width=200, _environ={}))
    with shown, shown.task(MARKUP, total=2) as task:
        task.reach(1, MARKUP)
        shown.note(MARKUP)
    assert MARKUP in said.getvalue()
    assert said.getvalue().count("[/x]") >= 2


def test_control_characters_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a\x1b[31mb\x9b2J\x07\u202e")
    assert capsys.readouterr().out == "a\\x1b[31mb\\x9b2J\\x07\\u202e\n"


@pytest.mark.parametrize("name", ["[/x]é [red]", "\x1b[31m"])
def test_any_name_of_a_folder_can_be_run_and_reported(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    name = folder.name
    samples.write_archive(folder / f"{name}.npz")
    run = (*SMALL, "--datasets", folder / f"{name}.npz", "--out", folder / "out", "--limit", "4")
    code, said, error = bench(*run, "--dry-run", "--verbose")
    assert (code, error) == (0, "")
    assert printable(name) in said
    code, said, error = bench(*run)
    assert (code, error) == (0, "")
    assert printable(str(folder / "out")) in said
    baseline = folder / "b.zip"
    assert bench("baseline", "save", folder / "out", baseline)[0] == 0
    code, said, _ = bench("baseline", "show", baseline)
    assert code == 0
    assert printable(name) in said
    if name.isprintable():
        assert bench("report", folder / "out")[0] == 0
    assert bench("records", "verify", folder / "out")[0] == 0


@pytest.mark.parametrize("model", ["builtins:dict", "builtins:print", "tests.samples:GRID"])
def test_what_is_no_factory_is_one_line(bench: Bench, model: str) -> None:
    code, _, error = bench("run", "--models", model, "--dry-run")
    assert code == 2
    assert error.count("\n") == 1
