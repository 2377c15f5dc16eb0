"""What every test gets: a cache of corrupted volumes of its own session, not the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("BENCH_CACHE_ROOT", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("BENCH_CACHE_GIB", raising=False)
    yield
    patch.undo()
