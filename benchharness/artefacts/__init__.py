"""Artefacts: acquisition faults at five calibrated levels, the same for every model."""

from __future__ import annotations

from benchharness import registry
from benchharness.artefacts.base import CANONICAL, LEVELS, SUITE_VERSION, Artefact, Corrupted, Level
from benchharness.errors import BenchError

__all__ = [
    "CANONICAL",
    "LEVELS",
    "SUITE_VERSION",
    "Artefact",
    "Corrupted",
    "Level",
    "build",
]


def build(name: str) -> Artefact:
    """Build an artefact from its registered name.

    Raises:
        BenchError: For an unknown name, or one that does not stand for an artefact.
    """
    target = registry.load("artefacts", name)
    if not (isinstance(target, type) and issubclass(target, Artefact)):
        raise BenchError(
            f"artefact {name!r} stands for {target!r}; expected a subclass of "
            "benchharness.artefacts.Artefact."
        )
    return target()
