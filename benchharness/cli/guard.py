"""The last guard: whatever a command raises becomes one line and a documented exit code.

0: done. 1: cells failed, damage was found, or a regression. 2: a mistake, or something that this
machine refuses, such as a full disk. 3: a fault of this program or of a plug-in. 130: interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness import __version__
from benchharness.cli.console import err, out, say
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

MISTAKE, FAULT, INTERRUPTED = 2, 3, 130

_GOES_ON = ("run", "train", "explain")
"""Commands that skip what is done when they are typed again."""


def guarded(command: Callable[[], object]) -> int:
    """Call a command of Typer's, not standalone, and return the exit code of the process."""
    try:
        code = command()
        _flush(out)
    except BenchError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        return _exited(stop)
    except MemoryError:
        return _refused("out of memory. Try a smaller --batch-size or --limit.")
    except OSError as error:
        return _denied(error)
    except Exception as error:  # the last guard: nothing may leave as a traceback
        if hasattr(error, "format_message"):
            return _misused(error)
        return _faulty(error)
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _refused(message: str) -> int:
    _tell(f"bench: {message}")
    return MISTAKE


def _misused(error: Exception) -> int:
    """A command line that Typer does not take."""
    context = getattr(error, "ctx", None)
    path = "bench" if context is None else context.command_path
    message: str = error.format_message()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":  # `bench` alone shows the help
        say(message)
        return MISTAKE
    words = " ".join(message.split()).rstrip(".")
    return _refused(f"{words}{'' if words.endswith('?') else '.'} See {path} --help.")


def _denied(error: OSError) -> int:
    """What the system refuses: a full disk, a name that is too long, a reader that has left."""
    if isinstance(error, BrokenPipeError):
        _silence()
        return MISTAKE
    reason = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    if not names:
        _silence()
    return _refused(f"cannot use {' and '.join(names) or 'the output'}: {reason}.")


def _interrupted() -> int:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    more = ""
    if command in _GOES_ON:
        more = " What is finished is kept; the same command goes on from there."
    elif command == "ci":
        more = " What is finished is kept; the same command with --resume goes on from there."
    _tell(f"bench: interrupted.{more}")
    return INTERRUPTED


def _exited(stop: SystemExit) -> int:
    """`sys.exit` in a plug-in must not pass for our own verdict."""
    if isinstance(stop.__context__, BrokenPipeError):
        return MISTAKE
    if any(name.endswith("_COMPLETE") for name in os.environ):  # the shell asks for completions
        return stop.code if isinstance(stop.code, int) else 0
    return _faulty(stop)


def _faulty(error: BaseException) -> int:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    try:
        descriptor, name = tempfile.mkstemp(prefix="bench-", suffix=".txt", text=True)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123
            stream.write(f"benchharness {__version__}, {sys.argv}\n")
            stream.writelines(traceback.format_exception(error))
        where = f"the traceback is in {Path(name)}"
    except OSError as full:
        where = f"no traceback could be saved ({full.strerror})"
    _tell(f"bench: a fault of this program or of a plug-in: {reason.rstrip('.')}; {where}.")
    return FAULT


def _tell(line: str) -> None:
    """Say one line on standard error; a line feed in it is spelled out."""
    with contextlib.suppress(OSError, ValueError):
        say("\\n".join(line.splitlines()), to=err)
        _flush(err)


def _flush(console: Console) -> None:
    if not console.file.closed:
        console.file.flush()


def _silence() -> None:
    """Throw away what standard output cannot take, so that nothing complains at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
