"""What tests share: a separate cache of corrupted volumes, and the command line."""

from __future__ import annotations

import locale
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchharness import cli
from benchharness.attacks import Probe
from benchharness.cli import console
from benchharness.run import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_LOCALE = locale.setlocale(locale.LC_ALL)


@pytest.fixture(autouse=True)
def _own_locale() -> None:
    """What writes DICOM for a test changes the locale of the process."""
    if locale.setlocale(locale.LC_ALL) != _LOCALE:
        locale.setlocale(locale.LC_ALL, _LOCALE)


@pytest.fixture(autouse=True)
def _own_interrupts() -> Iterator[None]:
    """A command that was interrupted ignores Ctrl-C from then on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _separate_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("BENCH_CACHE_ROOT", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("BENCH_CACHE_GIB", raising=False)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks() -> Iterator[None]:
    """No test can see what a power failure leaves; those of the order of writes count the calls."""
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda _: None)
    yield
    patch.undo()


WHOLE = keys.CONTROLS


@pytest.fixture(autouse=True, scope="session")
def _short_probe() -> Iterator[None]:
    """The many small runs of these tests get a probe of few passes; `whole_controls` undoes it."""
    patch = pytest.MonkeyPatch()
    short = [Probe(steps=2, queries=10) if isinstance(own, Probe) else own for own in WHOLE]
    patch.setattr(keys, "CONTROLS", tuple(short))
    yield
    patch.undo()


@pytest.fixture
def whole_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls that users get."""
    monkeypatch.setattr(keys, "CONTROLS", WHOLE)


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Call the command in a fresh folder; gives exit code, output and error output."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for one in (console.out, console.err):
        # A terminal's width that was there when it was made would go first.
        monkeypatch.setattr(one, "_width", None)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    return call
