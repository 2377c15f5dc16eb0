"""`bench list` shows every plug-in, and says of one that cannot be loaded why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchharness import registry
from benchharness.cli import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.registry import Registry


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def row(monkeypatch: pytest.MonkeyPatch, name: Registry, target: str) -> tuple[str, ...]:
    """The row of a plug-in that is listed beside one built-in."""
    first = next(iter(registry.BUILT_IN[name]))
    table = {first: registry.BUILT_IN[name][first], "mine": target}
    monkeypatch.setitem(registry.BUILT_IN, name, table)
    rows = catalogue.catalogue(name).rows
    assert [row[0] for row in rows] == [first, "mine"]
    assert len(rows[1]) == len(rows[0])
    return rows[1]


@pytest.mark.parametrize(
    ("target", "parameters", "text"),
    [
        ("tests.samples:tiny", "0.00 M", "A network that learns the sample data"),
        ("tests.hostile:looks_at_values", "0.00 M", "Reads a number off a tensor"),
        ("tests.hostile:raises", "unknown", "AttributeError: told to fail"),
        ("tests.hostile:exits", "unknown", "tried to leave with SystemExit: told to leave"),
        ("tests.hostile:nothing", "unknown", "its factory returned NoneType"),
        ("tests.hostile:absent", "–", "cannot be loaded: unknown attribute"),
        ("tests.nowhere:net", "–", "cannot be loaded: cannot import 'tests.nowhere'"),
        ("builtins:dict", "–", "cannot be loaded: model 'mine' cannot be built"),
    ],
)
def test_a_model_is_listed_whatever_its_factory_does(
    monkeypatch: pytest.MonkeyPatch, target: str, parameters: str, text: str
) -> None:
    found = row(monkeypatch, "models", target)
    assert found[1] == parameters
    assert text in found[-2]
    assert "\n" not in found[2]


@pytest.mark.parametrize("name", ["datasets", "attacks", "artefacts"])
@pytest.mark.parametrize("target", ["tests.nowhere:it", "builtins:dict", "tests.hostile:raises"])
def test_other_plug_ins_are_listed_too(
    monkeypatch: pytest.MonkeyPatch, name: Registry, target: str
) -> None:
    found = row(monkeypatch, name, target)
    if name != "datasets" or "nowhere" in target:
        assert found[-2].startswith("cannot be loaded: ")
