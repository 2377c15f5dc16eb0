"""Artefacts: acquisition faults at five calibrated levels, the same for every model.

Build one by name, `build("motion")`; subclass `Artefact` and `Level` to add one. `base` has the
contract, `mr`, `ct`, `general` and `geometric` the artefacts. `corruption` applies one to a split,
`batched` does so faster on a device, and `cache` keeps the result. `draws`, `extents`, `transforms`
and `tomography` are what artefacts share.
"""

from __future__ import annotations

from benchharness import registry
from benchharness.artefacts.base import (
    CANONICAL,
    EVERYWHERE,
    GREY,
    LEVELS,
    STEPS,
    SUITE_VERSION,
    Artefact,
    Corrupted,
    Group,
    Level,
    Spacing,
)
from benchharness.artefacts.cache import Cache, CorruptedSet
from benchharness.artefacts.corruption import corrupt, implementation, libraries
from benchharness.errors import BenchError
from benchharness.outside.containment import loading

__all__ = [
    "CANONICAL",
    "EVERYWHERE",
    "GREY",
    "LEVELS",
    "STEPS",
    "SUITE_VERSION",
    "Artefact",
    "Cache",
    "Corrupted",
    "CorruptedSet",
    "Group",
    "Level",
    "Spacing",
    "build",
    "corrupt",
    "implementation",
    "libraries",
]


def build(name: str) -> Artefact:
    """Build an artefact from its registered name.

    Raises:
        BenchError: For an unknown name, or one that is not an artefact's.
    """
    target = registry.load("artefacts", name)
    if not (isinstance(target, type) and issubclass(target, Artefact)):
        raise BenchError(
            f"artefact {name!r} stands for {target!r}; expected a subclass of "
            "benchharness.artefacts.Artefact."
        )
    with loading(f"artefact {name!r}"):
        return target()
