"""Where an attack lies: its file, its name in `benchharness.attacks`, its line in the contract."""

from __future__ import annotations

import pkgutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchharness import attacks, registry
from benchharness.attacks import core

ROOT = Path(__file__).parents[2]
ROWS = registry.BUILT_IN["attacks"]


@pytest.mark.parametrize("name", ROWS)
def test_every_attack_is_exported_by_its_class_name(name: str) -> None:
    kind = registry.load("attacks", name)
    assert getattr(attacks, kind.__name__) is kind
    assert kind.__name__ in attacks.__all__


@pytest.mark.parametrize("name", ROWS)
def test_the_file_of_an_attack_carries_its_name(name: str) -> None:
    module = ROWS[name].partition(":")[0]
    assert name.startswith(module.removeprefix("benchharness.attacks."))


def test_what_is_exported_exists_and_is_listed_once() -> None:
    assert len(attacks.__all__) == len(set(attacks.__all__))
    assert all(hasattr(attacks, name) for name in attacks.__all__)


def contract(name: str) -> dict[str, Any]:
    """The import contract whose name starts so."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    (only,) = (one for one in found if one["name"].startswith(name))
    return only


def test_the_import_contracts_cover_every_module() -> None:
    assert contract("Attacks:")["modules"] == ["benchharness.attacks.*"]
    layers = contract("The core of attacks:")["layers"]
    listed = sorted(name for line in layers for name in line.split(" | "))
    assert listed == sorted(module.name for module in pkgutil.iter_modules(core.__path__))
