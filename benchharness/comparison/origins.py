"""What is behind each side of a comparison: the weights that took part, and what measured them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.store.carried import called

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.comparison.sides import Side
    from benchharness.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One checkpoint that took part."""

    model: str
    dataset: str
    seed: int | None
    """The training seed; None for weights that the user brought."""
    sha256: str | None
    """Digest of the weights; None where they were never trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What one side's numbers were made of and with."""

    weights: tuple[Weights, ...]
    """By model, dataset and training seed."""
    versions: dict[str, tuple[str, ...]]
    """Of each package, those that its records name."""


def of(side: Side) -> Origin:
    """The origin of a side."""
    records = list(_records(side))
    weights = {
        Weights(
            model=called(record.cell.model.name, record.cell.checkpoint.recipe),
            dataset=record.cell.dataset.name,
            seed=record.cell.checkpoint.seed,
            sha256=record.cell.checkpoint.sha256,
        )
        for record in records
    }
    versions: dict[str, set[str]] = {}
    for record in records:
        named = record.provenance.get("versions")
        for package, version in named.items() if isinstance(named, dict) else ():
            versions.setdefault(str(package), set()).add(str(version))
    return Origin(
        weights=tuple(sorted(weights, key=lambda one: (one.model, one.dataset, str(one.seed)))),
        versions={package: tuple(sorted(versions[package])) for package in sorted(versions)},
    )


def _records(side: Side) -> Iterator[Record]:
    for measured in side.places.values():
        for seeds in measured.values():
            yield from seeds.values()
