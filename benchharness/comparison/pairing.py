"""Which cell of one store answers to which of another, and why some do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchharness.errors import BenchError
from benchharness.store.cells import CONTROL_FAMILY, condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record
    from benchharness.store.source import Source

Suspects = Mapping[str, tuple[str, ...]]
"""Why numbers must not be trusted beyond what their records say, by cell identity."""

GapKind = Literal["refused", "missing", "suspect", "unreferenced"]
"""Why a cell is left out: its counterpart is another measurement, or there is none in NEW; a number
is not to be trusted; or BASE never had it, which is no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a store takes part in a comparison."""

    model: str | None = None
    """Name of the one model; None takes all."""
    seed: int | None = None
    """The one training seed; None takes all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a cell stands in the matrix, whoever was trained and however it was measured."""

    model: str
    """The model's name; `NEW against BASE` where two models are compared."""
    dataset: str
    family: str
    """`clean`, an attack's norm or an artefact's group."""
    kind: Literal["none", "attack", "artefact"]
    condition: str
    """`clean`, `pgd 8/255`, `motion level 3`."""
    severity: float | None

    @property
    def family_title(self) -> str:
        """`clean`, `linf attacks`, `mr artefacts`."""
        return self.family if self.kind == "none" else f"{self.family} {self.kind}s"

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts by model and dataset, clean first, then attacks, then artefacts."""
        rank = ("none", "attack", "artefact").index(self.kind)
        name = self.condition.partition(" ")[0]
        return (self.model, self.dataset, rank, self.family, name, self.severity or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cell that takes no part."""

    place: Place
    kind: GapKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedCell:
    """The same measurement of two checkpoints, or of several seeds of each."""

    place: Place
    total: int
    """How many volumes the split holds."""
    ids: tuple[str, ...]
    """The common volumes."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    patients: NDArray[np.str_] | None
    """Shape (N,): whom each volume shows; None where that is not known."""
    has_auc: bool
    """Whether AUC tells something of this cell."""
    base: tuple[NDArray[np.float32], ...]
    """Logits (N, K) of every training seed of BASE."""
    new: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """All that could be paired, and all that could not."""

    cells: tuple[PairedCell, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    """What is compared: seeds, and in what the two trainings differ."""


@dataclass(frozen=True, slots=True)
class _Variant:
    """How a cell was measured; the checkpoint is what is compared and is no part of it."""

    data: str
    split: str
    version: int
    parameters: tuple[tuple[str, Any], ...]
    seed: int | None
    volumes: str
    source: str
    """Weights that transferred volumes were made on; empty for all others."""

    @classmethod
    def of(cls, cell: Cell) -> _Variant:
        key, perturbation = cell.dataset, cell.perturbation
        return cls(
            key.digest,
            key.split,
            perturbation.version,
            perturbation.parameters,
            perturbation.seed,
            key.volumes,
            "" if perturbation.source is None else str(perturbation.source.checkpoint.sha256),
        )

    def described(self) -> dict[str, object]:
        return {
            "dataset digest": self.data,
            "split": self.split,
            "version": self.version,
            **dict(self.parameters),
            "perturbation seed": self.seed,
            "volumes": self.volumes,
            "source weights": self.source,
        }

    def differences(self, other: _Variant) -> list[str]:
        mine, theirs = self.described(), other.described()
        return [
            f"{name} {_short(mine.get(name, 'absent'))} → {_short(theirs.get(name, 'absent'))}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        ]


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"


Seed = int | None
Variants = dict[_Variant, dict[Seed, "Record"]]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two sources, reduced to what takes part."""

    name: str
    source: Source
    places: dict[Place, Variants]
    seeds: dict[tuple[str, str], tuple[Seed, ...]]
    """Training seeds by (model, dataset)."""
    builds: dict[tuple[str, str], dict[str, object]]

    def logits(self, records: Iterable[Record]) -> list[Predictions]:
        return [self.source.predictions(record) for record in records]


def pair(
    base: Source,
    new: Source,
    base_choice: Choice,
    new_choice: Choice,
    suspects: Suspects,
) -> Pairing:
    """Pair the cells of two sources by model, dataset, perturbation, severity and volumes.

    Training seed, weights, recipe and factory are what is compared and may differ. Data, split,
    parameters, version and seed of a perturbation may not. One side may hold a subset of the
    other's volumes: then those are compared that both have.

    Args:
        base: The reference.
        new: What is held against it.
        base_choice: What of `base` takes part.
        new_choice: What of `new`.
        suspects: What else makes cells suspect.

    Raises:
        BenchError: When the two have no model in common, or one holds two kinds of training under
            one name.
    """
    of_base = _side("BASE", base, base_choice, _label(base_choice, new_choice))
    of_new = _side("NEW", new, new_choice, _label(base_choice, new_choice))
    _check_common((of_base, of_new), (base_choice, new_choice))
    cells: list[PairedCell] = []
    gaps: list[Gap] = []
    for place in sorted({*of_base.places, *of_new.places}, key=lambda place: place.order):
        own_cells, own_gaps = _at(place, of_base, of_new, suspects)
        cells += own_cells
        gaps += own_gaps
    return Pairing(cells=tuple(cells), gaps=tuple(gaps), notes=_notes(of_base, of_new))


def _label(base: Choice, new: Choice) -> str | None:
    """What two different models are called together; None where names decide."""
    if base.model is None or new.model is None or base.model == new.model:
        return None
    return f"{new.model} against {base.model}"


def _side(name: str, source: Source, choice: Choice, label: str | None) -> _Side:
    chosen = [
        record
        for record in source.records().values()
        if record.cell.perturbation.family != CONTROL_FAMILY
        and choice.model in (None, record.cell.model.name)
        and choice.seed in (None, record.cell.checkpoint.seed)
    ]
    newest = {_training(record): record.cell.checkpoint.sha256 for record in chosen}
    side = _Side(name, source, {}, {}, {})
    for record in chosen:
        cell = record.cell
        if cell.checkpoint.sha256 != newest[_training(record)]:
            continue
        place = _place(cell, label or cell.model.name)
        where = (place.model, place.dataset)
        build = _build(cell)
        if side.builds.setdefault(where, build) != build:
            differing = [key for key in build if build[key] != side.builds[where][key]]
            raise BenchError(
                f"{name} holds {cell.model.name} on {cell.dataset.name} trained in two ways, with "
                f"another {' and '.join(differing)}. Run each into a store of its own, then "
                "compare."
            )
        variants = side.places.setdefault(place, {})
        variants.setdefault(_Variant.of(cell), {})[cell.checkpoint.seed] = record
        known = side.seeds.get(where, ())
        if cell.checkpoint.seed not in known:
            side.seeds[where] = (*known, cell.checkpoint.seed)
    return side


def _training(record: Record) -> tuple[Any, ...]:
    """What was trained; of several checkpoints of one training the newest counts."""
    cell = record.cell
    key = (cell.model.name, cell.dataset.digest, cell.checkpoint.seed)
    return (*key, *map(str, _build(cell).values()))


def _build(cell: Cell) -> dict[str, object]:
    return {
        "factory": cell.model.factory,
        "arguments": cell.model.arguments,
        "preprocessing": cell.model.preprocessing,
        "recipe": cell.checkpoint.recipe,
    }


def _place(cell: Cell, model: str) -> Place:
    key = cell.perturbation
    return Place(
        model=model,
        dataset=cell.dataset.name,
        family=key.family,
        kind=key.kind,
        condition=condition(key),
        severity=key.severity,
    )


def _check_common(sides: tuple[_Side, _Side], choices: tuple[Choice, Choice]) -> None:
    base, new = ({place.model for place in side.places} for side in sides)
    if base & new:
        return
    for side, choice in zip(sides, choices, strict=True):
        if side.places:
            continue
        held = {r.cell.model.name for r in side.source.records().values()}
        wanted = "" if choice.model is None else f" of model {choice.model!r}"
        wanted += "" if choice.seed is None else f" with training seed {choice.seed}"
        raise BenchError(
            f"{side.name} has no cells{wanted}. It holds models: {', '.join(sorted(held))}."
        )
    raise BenchError(
        f"BASE and NEW have no model in common: {', '.join(sorted(base))} against "
        f"{', '.join(sorted(new))}. To compare two models add --base-model {min(base)} "
        f"--new-model {min(new)}."
    )


def _at(
    place: Place, base: _Side, new: _Side, suspects: Suspects
) -> tuple[list[PairedCell], list[Gap]]:
    """Everything that happens at one place of the matrix."""
    of_base, of_new = (dict(side.places.get(place, {})) for side in (base, new))
    cells: list[PairedCell] = []
    gaps: list[Gap] = []
    matches = [(variant, variant) for variant in of_base if variant in of_new]
    left = [variant for variant in of_base if variant not in of_new]
    right = [variant for variant in of_new if variant not in of_base]
    while left and right:
        # What is most alike is held against each other, so that a refusal names what differs.
        first, second = min(
            product(left, right), key=lambda both: len(both[0].differences(both[1]))
        )
        matches.append((first, second))
        left.remove(first)
        right.remove(second)
    for first, second in matches:
        pairs = (of_base[first], of_new[second])
        found = _paired(place, base, new, (first, second), pairs, suspects)
        if isinstance(found, Gap):
            gaps.append(found)
        elif found is not None:
            cells.append(found)
    for variant in left:
        reason = "; ".join(filter(None, [_lacking(base, place, of_base[variant]), "not in NEW"]))
        gaps.append(Gap(place=place, kind="missing", reason=reason))
    gaps += [Gap(place=place, kind="unreferenced", reason="not in BASE") for _ in right]
    return cells, gaps


def _paired(
    place: Place,
    base: _Side,
    new: _Side,
    variants: tuple[_Variant, _Variant],
    records: tuple[dict[Seed, Record], dict[Seed, Record]],
    suspects: Suspects,
) -> PairedCell | Gap | None:
    """Bring two sides together; None where the perturbation does not apply to the dataset."""
    differences = [d for d in variants[0].differences(variants[1]) if not d.startswith("volumes ")]
    if differences:
        return Gap(place=place, kind="refused", reason=", ".join(differences))
    if all(record.inapplicable for own in records for record in own.values()):
        return None
    lacking = [
        f"{side.name}: {reason}"
        for side, own in zip((base, new), records, strict=True)
        if (reason := _lacking(side, place, own))
    ]
    if lacking:
        return Gap(place=place, kind="missing", reason="; ".join(lacking))
    doubts = [
        f"{side.name}: {reason}"
        for side, own in zip((base, new), records, strict=True)
        for record in own.values()
        if (reason := "; ".join((*record.doubts, *suspects.get(record.identity, ()))))
    ]
    if doubts:
        return Gap(place=place, kind="suspect", reason="; ".join(dict.fromkeys(doubts)))
    answers = [side.logits(own.values()) for side, own in zip((base, new), records, strict=True)]
    total = next(iter(records[0].values())).cell.dataset.total
    every = [record for own in records for record in own.values()]
    has_auc = not any("auc" in record.undefined for record in every)
    return _aligned(place, total, answers[0], answers[1], has_auc=has_auc)


def _lacking(side: _Side, place: Place, own: Mapping[Seed, Record]) -> str:
    """Which training seeds failed here or were not run; empty when none."""
    reasons = []
    for seed in side.seeds[place.model, place.dataset]:
        record = own.get(seed)
        if record is None:
            reasons.append(f"seed {seed} not run")
        elif record.predictions is None:
            reasons.append(f"failed: {record.error}")
    return ", ".join(reasons)


def _aligned(
    place: Place,
    total: int,
    base: Sequence[Predictions],
    new: Sequence[Predictions],
    *,
    has_auc: bool,
) -> PairedCell | Gap:
    """Bring all predictions to the common volumes in BASE's order."""
    everyone = [*base, *new]
    names = [found.ids.tolist() for found in everyone]
    common = set(names[0]).intersection(*names[1:])
    ids = tuple(name for name in names[0] if name in common)
    positions = [{name: index for index, name in enumerate(own)} for own in names]
    reason = ""
    if any(len(where) != len(own) for where, own in zip(positions, names, strict=True)):
        reason = "a volume's id stands twice"
    elif len(ids) < min(map(len, names)) or not ids:
        reason = f"volumes: of {len(names[0])} and {len(names[-1])} only {len(ids)} are the same"
    elif len({found.logits.shape[1] for found in everyone}) > 1:
        classes = (found.logits.shape[1] for found in (base[0], new[0]))
        reason = "classes {} → {}".format(*classes)
    if reason:
        return Gap(place=place, kind="refused", reason=reason)
    rows = [[where[name] for name in ids] for where in positions]
    labels = [found.labels[own] for found, own in zip(everyone, rows, strict=True)]
    if any(not np.array_equal(labels[0], other) for other in labels[1:]):
        return Gap(place=place, kind="refused", reason="labels of the same volumes differ")
    logits = tuple(found.logits[own] for found, own in zip(everyone, rows, strict=True))
    return PairedCell(
        place=place,
        total=total,
        ids=ids,
        labels=labels[0],
        patients=None if base[0].patients is None else base[0].patients[rows[0]],
        has_auc=has_auc,
        base=logits[: len(base)],
        new=logits[len(base) :],
    )


def _notes(base: _Side, new: _Side) -> tuple[str, ...]:
    """Say what is compared where it is more than two checkpoints of one training."""
    notes = []
    for where in sorted(base.seeds.keys() & new.seeds.keys()):
        name = " on ".join(where)
        own, other = (side.builds[where] for side in (base, new))
        differing = [key for key in own if own[key] != other[key]]
        if differing:
            notes.append(f"{name}: the models differ in {', '.join(differing)}.")
        seeds = [side.seeds[where] for side in (base, new)]
        if seeds[0] != seeds[1]:
            texts = ["own weights" if s == (None,) else ", ".join(map(str, s)) for s in seeds]
            notes.append(f"{name}: training seeds {texts[0]} in BASE, {texts[1]} in NEW.")
        if max(map(len, seeds)) > 1:
            notes.append(
                f"{name}: means over {len(seeds[0])} and {len(seeds[1])} training seeds; the "
                "intervals are for these checkpoints on other volumes, not for other seeds."
            )
    return tuple(notes)
