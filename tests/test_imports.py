"""What is imported when: nothing heavy before it is needed, and torchvision never."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import baselines
import benchharness
import medvit3d

LIGHT = (
    "benchharness.cli",
    "benchharness.statistics.uncertainty",
    "benchharness.run.config",
    "benchharness.datasets",
    "benchharness.statistics.metrics",
    "benchharness.store.records",
    "benchharness.registry",
    "benchharness.statistics",
    "benchharness.report",
    "benchharness.store.baseline",
    "benchharness.comparison",
    "benchharness.comparison.render",
    "benchharness.store.frames",
    "benchharness.store.upkeep",
)
"""What must not import torch; one after the other, so that the first guilty one is named."""

PROBE = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    assert sys.argv[1] not in sys.modules, f"{name} imports {sys.argv[1]}"
print(len(sys.argv) - 2)
"""


def modules() -> list[str]:
    """Every module of the three packages."""
    found = []
    for package in (benchharness, baselines, medvit3d):
        found.append(package.__name__)
        found += [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return found


def imported_without(unwanted: str, names: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, unwanted, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(names)}\n"


def test_what_reads_and_parses_imports_no_torch() -> None:
    imported_without("torch", list(LIGHT))


def test_no_module_imports_torchvision() -> None:
    names = modules()
    assert len(names) > 40
    imported_without("torchvision", names)


def test_help_answers_without_torch() -> None:
    code = (
        "import sys\n"
        "from benchharness.cli import main\n"
        "sys.argv = ['bench', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = (
        "run",
        "train",
        "check",
        "report",
        "list",
        "compare",
        "ci",
        "baseline",
        "leaderboard",
    )
    for word in (*commands, "records", "check"):
        assert word in done.stdout


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name: str) -> None:
    documentation = import_module(name).__doc__
    assert documentation
    assert documentation.partition("\n")[0].endswith(".")


def test_the_packages_are_typed() -> None:
    for package in (benchharness, baselines, medvit3d):
        assert package.__file__ is not None
        assert Path(package.__file__).with_name("py.typed").exists()
