"""The suite is frozen: no bit changes under one version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.artefacts import LEVELS, SUITE_VERSION
from tests.artefacts import golden

if TYPE_CHECKING:
    from benchharness.datasets import Split

WRITE = "run 'python -m tests.artefacts.golden'"
MEND = f"raise SUITE_VERSION, then {WRITE}"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return golden.read()


@pytest.fixture(scope="module")
def volumes() -> Split:
    return golden.split()


def test_the_file_is_of_this_version_and_whole(expected: dict[str, Any]) -> None:
    assert expected["suite"] == SUITE_VERSION, MEND
    assert tuple(expected["sets"]) == golden.names(), WRITE
    assert all(set(levels) == set(map(str, LEVELS)) for levels in expected["sets"].values())


@pytest.mark.parametrize("name", golden.names())
def test_the_first_volumes_are_as_they_were(
    name: str, expected: dict[str, Any], volumes: Split
) -> None:
    """To the bit where the file knows the environment, and to a step of 65,535 on a processor of
    another make; other libraries may differ by more."""
    here = golden.environment()
    known = golden.digests_of(expected, here)
    same_libraries = any(
        entry["environment"]["libraries"] == here["libraries"] for entry in expected["bits"]
    )
    for level in LEVELS:
        found = golden.made(name, level, volumes, golden.FEW)
        wanted = expected["sets"][name][str(level)]
        means = np.abs(np.subtract(golden.means(found), wanted["means"]))
        steps = np.abs(np.subtract(golden.sample(found), wanted["sample"]))
        if same_libraries:
            assert means.max() < 1e-5, f"{name} at level {level}"
            assert steps.max() <= 1, f"{name} at level {level}"
        assert means.max() < 1e-3, f"{name} at level {level}"
        assert np.quantile(steps, 0.9) < 2e-3 * 65535, f"{name} at level {level}"
        if known is not None:
            assert found.sha256 == known[name][str(level)]["few"], f"{name}, level {level}: {MEND}"


@pytest.mark.slow
@pytest.mark.parametrize("name", golden.names())
def test_the_whole_test_set_is_as_it_was(
    name: str, expected: dict[str, Any], volumes: Split
) -> None:
    known = golden.digests_of(expected, golden.environment())
    if known is None:
        environments = [entry["environment"] for entry in expected["bits"]]
        pytest.skip(f"the bits hold for {environments}")
    for level in LEVELS:
        found = golden.made(name, level, volumes)
        assert found.sha256 == known[name][str(level)]["all"], f"{name}, level {level}: {MEND}"
