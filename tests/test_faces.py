"""`benchharness.artefacts` and `benchharness.datasets` export what they are made of."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from benchharness import artefacts, datasets

if TYPE_CHECKING:
    from types import ModuleType

FACES = (artefacts, datasets)


def _public_classes(face: ModuleType) -> dict[str, type]:
    """Classes that modules of a package define; built-in artefacts go by name instead."""
    found = {}
    for info in pkgutil.iter_modules(face.__path__, f"{face.__name__}."):
        for name, value in vars(import_module(info.name)).items():
            own = inspect.isclass(value) and value.__module__ == info.name
            if own and not name.startswith("_"):
                found[name] = value
    built_in = (artefacts.Artefact, artefacts.Level)
    return {
        name: value
        for name, value in found.items()
        if value in built_in or not issubclass(value, built_in)
    }


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_name_of_the_face_is_there_and_sorted(face: ModuleType) -> None:
    assert len(set(face.__all__)) == len(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is not None
    space: dict[str, object] = {}
    exec(f"from {face.__name__} import *", space)
    assert set(face.__all__) <= set(space)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_public_class_is_exported_by_name(face: ModuleType) -> None:
    classes = _public_classes(face)
    assert classes
    for name, value in classes.items():
        assert name in face.__all__
        assert getattr(face, name) is value


def test_the_faces_name_what_a_user_needs() -> None:
    assert {"Artefact", "Level", "Corrupted", "LEVELS", "SUITE_VERSION"} <= set(artefacts.__all__)
    assert {"Cache", "build", "corrupt"} <= set(artefacts.__all__)
    assert {"Dataset", "Split", "Preparation", "Window", "load"} <= set(datasets.__all__)
