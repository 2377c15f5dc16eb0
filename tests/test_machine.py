"""OpenMP's waiting threads: what is set, never over a person's own setting, and before torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchharness import machine

PROBE = """
import os, sys
from benchharness import machine
from benchharness.cli import main
sys.argv = ["bench", "--version"]
try:
    main()
except SystemExit:
    pass
assert "torch" not in sys.modules
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
"""


def after_start(**own: str) -> list[str]:
    """The two variables once `bench` has started, where a person set some of them."""
    given = {name: text for name, text in os.environ.items() if name not in machine.OWN} | own
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=given, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


def test_bench_bounds_the_spinning_before_torch_is_loaded() -> None:
    assert after_start() == [machine.BOUNDED["GOMP_SPINCOUNT"], "None"]


@pytest.mark.parametrize("name", machine.OWN)
def test_a_persons_own_setting_stays(name: str) -> None:
    assert machine.environment({name: "7"}) == {}


def test_bench_keeps_a_persons_policy() -> None:
    assert after_start(OMP_WAIT_POLICY="active") == ["None", "active"]


def test_importing_the_harness_changes_nothing() -> None:
    code = (
        "import os; before = dict(os.environ); import benchharness.api; assert before == os.environ"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_children_are_bounded_and_this_process_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.OWN:
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    show = "import os; print(os.environ['GOMP_SPINCOUNT'])"
    with machine.bounded_children():
        seen = subprocess.run(
            [sys.executable, "-c", show], capture_output=True, text=True, check=True
        )
    assert seen.stdout.strip() == machine.BOUNDED["GOMP_SPINCOUNT"]
    assert dict(os.environ) == before


def test_an_outer_setting_outlives_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    with machine.bounded_children():
        assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["GOMP_SPINCOUNT"] == "7"
