"""Small stores for reports, written with made-up predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Write cells to a fresh store and return its folder."""

    def make(*cells: Made) -> Path:
        return store_of(tmp_path / "store", cells).directory

    return make


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a whole, undisturbed run; on a second dataset of clean volumes alone."""
    cells = whole_matrix()
    other = [replace(made, dataset="vesselmnist3d") for made in cells if not made.perturbation]
    return store_of(tmp_path_factory.mktemp("full") / "store", [*cells, *other]).directory
