"""The suite is frozen: no bit changes under one version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.artefacts import LEVELS, SUITE_VERSION
from tests.artefacts import golden

if TYPE_CHECKING:
    from benchharness.datasets import Split

MEND = "raise SUITE_VERSION, then run 'python -m tests.artefacts.golden'"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return golden.read()


@pytest.fixture(scope="module")
def volumes() -> Split:
    return golden.split()


def test_the_file_is_of_this_version_and_whole(expected: dict[str, Any]) -> None:
    assert expected["suite"] == SUITE_VERSION, MEND
    assert tuple(expected["sets"]) == golden.names(), MEND
    assert all(set(levels) == set(map(str, LEVELS)) for levels in expected["sets"].values())


@pytest.mark.parametrize("name", golden.names())
def test_the_first_volumes_are_as_they_were(
    name: str, expected: dict[str, Any], volumes: Split
) -> None:
    pinned = expected["environment"] == golden.environment()
    for level in LEVELS:
        found = golden.made(name, level, volumes, golden.FEW)
        known = expected["sets"][name][str(level)]
        # Libraries and processors of other versions may differ in the last bits, not in more.
        np.testing.assert_allclose(golden.means(found), known["means"], atol=1e-3, rtol=0)
        apart = np.abs(np.subtract(golden.sample(found), known["sample"])) / 65535
        assert np.quantile(apart, 0.9) < 2e-3
        if pinned:
            assert found.sha256 == known["few"], f"{name} at level {level} changed: {MEND}"


@pytest.mark.slow
@pytest.mark.parametrize("name", golden.names())
def test_the_whole_test_set_is_as_it_was(
    name: str, expected: dict[str, Any], volumes: Split
) -> None:
    if expected["environment"] != golden.environment():
        pytest.skip(f"the bits hold for {expected['environment']}")
    for level in LEVELS:
        found = golden.made(name, level, volumes)
        known = expected["sets"][name][str(level)]["all"]
        assert found.sha256 == known, f"{name} at level {level} changed: {MEND}"
