"""Small stores for reports, written with made-up predictions."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness.report.plots import canvas
from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Write cells to a fresh store and return its folder."""

    def make(*cells: Made) -> Path:
        return store_of(tmp_path / "store", cells).directory

    return make


@contextmanager
def without_drawing() -> Iterator[None]:
    """Plan and draw figures, but spend no time on layout and files, for tests of what is written.

    It replaces what takes most of a report's time; the tests of plots and files do not use it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "_saved", lambda figure, formats: dict.fromkeys(formats, b""))
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    """No file of a figure is made in this test."""
    with without_drawing():
        yield


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a whole, undisturbed run; on a second dataset of clean volumes alone."""
    cells = whole_matrix()
    other = [replace(made, dataset="vesselmnist3d") for made in cells if not made.perturbation]
    return store_of(tmp_path_factory.mktemp("full") / "store", [*cells, *other]).directory
