"""How a cell was measured: what two numbers must share before they can be compared.

Model and checkpoint are not part of it, since they are what is compared. Nor is the severity, which
is part of the condition's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchharness.canonical import Value
    from benchharness.store.cells import DatasetKey, PerturbationKey

    Parts = tuple[tuple[str, Value], ...]
    """Named parts of a measurement, which can be hashed and compared."""

ABSENT = "absent"
"""Shown for a parameter that one of two measurements lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which two measurements differ."""

    name: str
    first: object
    second: object


def of_data(key: DatasetKey) -> Parts:
    """Which volumes were measured."""
    return (("dataset digest", key.digest), ("split", key.split), ("volumes", key.volumes))


def of_perturbation(key: PerturbationKey) -> Parts:
    """The threat model or artefact."""
    return (
        ("version", key.version),
        ("family", key.family),
        *key.parameters,
        ("perturbation seed", key.seed),
    )


def differences(first: Parts, second: Parts) -> tuple[Difference, ...]:
    """Say in what two measurements differ, in the order of their parts."""
    mine: dict[str, Any] = dict(first)
    theirs: dict[str, Any] = dict(second)
    return tuple(
        Difference(name=name, first=mine.get(name, ABSENT), second=theirs.get(name, ABSENT))
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    )
