"""One of the two sources of a comparison, reduced to the cells that take part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchharness.comparison.places import Place
from benchharness.errors import BenchError
from benchharness.store import measurement
from benchharness.store.carried import called
from benchharness.store.cells import describe_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.comparison.alignment import Frozen
    from benchharness.store.cells import Cell
    from benchharness.store.measurement import Parts
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record
    from benchharness.store.source import Source

    Seed = int | None
    Seeds = Mapping[Seed, Record]
    """The records of one measurement by training seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which model, recipe and training seed of a source take part."""

    model: str | None = None
    """The one model, such as `medvit3d_n`, or `medvit3d_n from phantom3d_ct by coral`; None takes
    all."""
    recipe: str | None = None
    """Name of the one recipe; None takes all, and weights that the user brought."""
    seed: int | None = None
    """The one training seed; None takes all."""

    def includes(self, record: Record) -> bool:
        """Whether a record takes part; controls never do."""
        cell = record.cell
        return (
            not record.control
            and self.model in (None, _called(cell))
            and self.recipe in (None, cell.checkpoint.recipe_name)
            and self.seed in (None, cell.checkpoint.seed)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """BASE or NEW."""

    name: str
    source: Source
    places: dict[Place, dict[Parts, dict[Seed, Record]]] = field(default_factory=dict)
    """The records of each place, by measurement and by training seed."""
    seeds: dict[tuple[str, str], tuple[Seed, ...]] = field(default_factory=dict)
    """Training seeds by (model, dataset)."""
    builds: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """How the models were built and trained, by (model, dataset)."""
    clean: dict[tuple[object, ...], Record] = field(default_factory=dict)
    """The clean record of every checkpoint, which holds its frozen thresholds."""

    def predictions(self, records: Seeds) -> list[Predictions]:
        """The predictions of every training seed."""
        return [self.source.predictions(record) for record in records.values()]

    def thresholds(self, records: Seeds, classes: int) -> Frozen:
        """What the clean cell of the same weights froze, for every training seed."""
        found = (self.clean.get(_weights(record.cell)) for record in records.values())
        return tuple(None if own is None else own.thresholds(classes) for own in found)

    def lacking(self, place: Place, records: Seeds) -> str:
        """Which training seeds failed at a place or were not run; empty when none."""
        reasons = []
        for seed in self.seeds[place.model, place.dataset]:
            record = records.get(seed)
            if record is None:
                reasons.append(f"{describe_seed(seed)} not run")
            elif record.predictions is None:
                reasons.append(f"failed: {record.error}")
        return ", ".join(reasons)


def read(name: str, source: Source, choice: Choice, label: str | None) -> Side:
    """Read what takes part; of several checkpoints of one training the newest.

    Args:
        name: `BASE` or `NEW`.
        source: A store or a baseline.
        choice: What of it takes part.
        label: What to call its one model; None keeps the names.

    Raises:
        BenchError: When it holds two kinds of training under one name.
    """
    chosen = [record for record in source.records().values() if choice.includes(record)]
    newest = {_training(record.cell): record.cell.checkpoint.sha256 for record in chosen}
    side = Side(name, source)
    for record in chosen:
        if record.cell.perturbation.kind == "none":
            side.clean[_weights(record.cell)] = record
        if record.cell.checkpoint.sha256 == newest[_training(record.cell)]:
            _add(side, record, label or _called(record.cell))
    return side


def _add(side: Side, record: Record, model: str) -> None:
    cell = record.cell
    place = Place.of(cell, model)
    where = (place.model, place.dataset)
    build = _build(cell)
    if (other := side.builds.setdefault(where, build)) != build:
        raise _trained_in_two_ways(side, cell, other, build)
    measurements = side.places.setdefault(place, {})
    measurements.setdefault(_measurement(cell), {})[cell.checkpoint.seed] = record
    known = side.seeds.get(where, ())
    if cell.checkpoint.seed not in known:
        side.seeds[where] = (*known, cell.checkpoint.seed)


def _trained_in_two_ways(
    side: Side, cell: Cell, first: Mapping[str, Any], second: Mapping[str, Any]
) -> BenchError:
    differing = [key for key in second if second[key] != first[key]]
    names = [dict(build["recipe"] or ()).get("name", "") for build in (first, second)]
    remedy = "Run each into its own store, then compare."
    if all(names) and names[0] != names[1]:
        remedy = f"Choose one: --{side.name.lower()}-recipe {names[0]}, or {names[1]}."
    return BenchError(
        f"{side.name} holds {cell.model.name} on {cell.dataset.name} trained in two ways, with "
        f"different {' and '.join(differing)}. {remedy}"
    )


def _training(cell: Cell) -> tuple[Any, ...]:
    """What was trained, whatever weights came out of it."""
    key = (_called(cell), cell.dataset.digest, cell.checkpoint.seed)
    return (*key, *map(str, _build(cell).values()))


def _called(cell: Cell) -> str:
    """A model's name, and where its weights were carried from if they were."""
    return called(cell.model.name, cell.checkpoint.recipe)


def _weights(cell: Cell) -> tuple[object, ...]:
    return (*cell.model.numbers().values(), cell.checkpoint.sha256, cell.dataset.digest)


def _build(cell: Cell) -> dict[str, Any]:
    return {"outputs": (), **cell.model.numbers(), "recipe": cell.checkpoint.recipe}


def _measurement(cell: Cell) -> Parts:
    source = cell.perturbation.source
    return (
        *measurement.of_data(cell.dataset),
        *measurement.of_perturbation(cell.perturbation),
        ("source weights", "" if source is None else str(source.checkpoint.sha256)),
    )
