"""Two lists of cells, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchharness.comparison import Settings, StoreComparison, compare
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def against(tmp_path: Path) -> Callable[..., StoreComparison]:
    """Compare two lists of cells, written to stores in this folder."""

    def held(base: Sequence[Made], new: Sequence[Made], **settings: Any) -> StoreComparison:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        sources = (store_of(folder / "base", base), store_of(folder / "new", new))
        return compare(*sources, Settings(**settings))

    return held
