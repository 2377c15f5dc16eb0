"""Which cell of BASE is compared with which of NEW, and why some are not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from benchharness.comparison import notes, origins, sides
from benchharness.comparison.alignment import PairedCell, aligned
from benchharness.comparison.places import Gap
from benchharness.errors import BenchError
from benchharness.store import suspicion
from benchharness.store.carried import called
from benchharness.store.cells import OWN_WEIGHTS
from benchharness.store.measurement import differences

if TYPE_CHECKING:
    from collections.abc import Collection

    from benchharness.comparison.origins import Origin
    from benchharness.comparison.places import Place
    from benchharness.comparison.sides import Choice, Seeds, Side
    from benchharness.store.measurement import Parts
    from benchharness.store.source import Source
    from benchharness.store.suspicion import Suspicions


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """All cells that could be paired, and all that could not."""

    cells: tuple[PairedCell, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    """What is compared: seeds, and in what the two trainings differ."""
    origins: tuple[Origin, Origin]
    """Weights and versions behind BASE and behind NEW."""


def pair(
    base: Source,
    new: Source,
    base_choice: Choice,
    new_choice: Choice,
    suspicions: Suspicions,
) -> Pairing:
    """Pair the cells of two sources by model, dataset, perturbation, severity and volumes.

    Training seed, weights, recipe and factory are what is compared and may differ. Data, split, and
    a perturbation's parameters, version and seed may not. One side may hold a subset of the
    other's volumes; the common volumes are then compared.

    Args:
        base: The reference.
        new: What is compared with it.
        base_choice: What of `base` takes part.
        new_choice: What of `new` takes part.
        suspicions: What else makes cells suspect.

    Raises:
        BenchError: When the two have no model in common, or one holds two kinds of training under
            one name.
    """
    label = _label(base_choice, new_choice)
    of_base = sides.read("BASE", base, base_choice, label)
    of_new = sides.read("NEW", new, new_choice, label)
    _check_common((of_base, of_new), (base_choice, new_choice))
    cells: list[PairedCell] = []
    gaps: list[Gap] = []
    for place in sorted({*of_base.places, *of_new.places}, key=lambda place: place.order):
        own_cells, own_gaps = _at(place, of_base, of_new, suspicions)
        cells += own_cells
        gaps += own_gaps
    return Pairing(
        cells=tuple(cells),
        gaps=tuple(gaps),
        notes=notes.notes(of_base, of_new),
        origins=(origins.of(of_base), origins.of(of_new)),
    )


def _label(base: Choice, new: Choice) -> str | None:
    """What two different models are called together; None where names decide."""
    if base.model is None or new.model is None or base.model == new.model:
        return None
    return f"{new.model} against {base.model}"


def _check_common(both: tuple[Side, Side], choices: tuple[Choice, Choice]) -> None:
    base, new = ({place.model for place in side.places} for side in both)
    if base & new:
        return
    for side, choice in zip(both, choices, strict=True):
        if side.places:
            continue
        cells = [record.cell for record in side.source.records().values()]
        wanted = "" if choice.model is None else f" of model {choice.model!r}"
        wanted += "" if choice.recipe is None else f" with recipe {choice.recipe!r}"
        wanted += "" if choice.seed is None else f" with training seed {choice.seed}"
        names = {called(cell.model.name, cell.checkpoint.recipe) for cell in cells}
        held = f"It holds models: {', '.join(sorted(names))}"
        if choice.recipe is not None:
            trained = {cell.checkpoint.recipe_name or OWN_WEIGHTS for cell in cells}
            held += f"; recipes: {', '.join(sorted(trained))}"
        raise BenchError(f"{side.name} has no cells{wanted}. {held}.")
    raise BenchError(
        f"BASE and NEW have no model in common: {', '.join(sorted(base))} against "
        f"{', '.join(sorted(new))}. To compare two models add --base-model {min(base)} "
        f"--new-model {min(new)}."
    )


def _at(
    place: Place, base: Side, new: Side, suspicions: Suspicions
) -> tuple[list[PairedCell], list[Gap]]:
    """Everything that was measured at one place of the matrix."""
    of_base, of_new = (side.places.get(place, {}) for side in (base, new))
    matches, left, right = _matches(of_base.keys(), of_new.keys())
    cells: list[PairedCell] = []
    gaps: list[Gap] = []
    for first, second in matches:
        differing = _differing(first, second)
        if differing:
            gaps.append(Gap(place=place, kind="refused", reason=differing))
            continue
        found = _paired(place, (base, new), (of_base[first], of_new[second]), suspicions)
        if isinstance(found, Gap):
            gaps.append(found)
        elif found is not None:
            cells.append(found)
    for measured in left:
        records = of_base[measured]
        if all(record.inapplicable for record in records.values()):
            continue
        own = base.lacking(place, records)
        reason = "; ".join(filter(None, [own, "not in NEW"]))
        gaps.append(Gap(place=place, kind="missing", reason=reason, lost=not own))
    gaps += [Gap(place=place, kind="unreferenced", reason="not in BASE") for _ in right]
    return cells, gaps


def _matches(
    base: Collection[Parts], new: Collection[Parts]
) -> tuple[list[tuple[Parts, Parts]], list[Parts], list[Parts]]:
    """Match the measurements of two sides: equal ones first, then those most alike.

    Returns:
        The matches, and what is left over of BASE and of NEW.
    """
    matches = [(measured, measured) for measured in base if measured in new]
    left = [measured for measured in base if measured not in new]
    right = [measured for measured in new if measured not in base]
    while left and right:
        # Matching the most alike makes a refusal name only what really differs.
        first, second = min(product(left, right), key=lambda both: len(differences(*both)))
        matches.append((first, second))
        left.remove(first)
        right.remove(second)
    return matches, left, right


def _differing(first: Parts, second: Parts) -> str:
    """In what two measurements differ beside their volumes, which may be a subset."""
    return ", ".join(
        f"{one.name} {_short(one.first)} → {_short(one.second)}"
        for one in differences(first, second)
        if one.name != "volumes"
    )


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"


def _paired(
    place: Place, both: tuple[Side, Side], records: tuple[Seeds, Seeds], suspicions: Suspicions
) -> PairedCell | Gap | None:
    """Bring two sides together; None where the perturbation does not apply to the dataset."""
    every = [record for own in records for record in own.values()]
    if all(record.inapplicable for record in every):
        return None
    lacking = [
        f"{side.name}: {reason}"
        for side, own in zip(both, records, strict=True)
        if (reason := side.lacking(place, own))
    ]
    if lacking:
        return Gap(
            place=place,
            kind="missing",
            reason="; ".join(lacking),
            lost=not both[0].lacking(place, records[0]),
        )
    doubts = [
        f"{side.name}: {reason}"
        for side, own in zip(both, records, strict=True)
        for record in own.values()
        if (reason := suspicion.of_record(record, suspicions))
    ]
    if doubts:
        return Gap(place=place, kind="suspect", reason="; ".join(dict.fromkeys(doubts)))
    base, new = (side.predictions(own) for side, own in zip(both, records, strict=True))
    classes = base[0].logits.shape[1]
    of_base, of_new = (
        side.thresholds(own, classes) for side, own in zip(both, records, strict=True)
    )
    return aligned(
        place,
        every[0].cell.dataset.total,
        base,
        new,
        undefined={name: why for record in every for name, why in record.undefined.items()},
        thresholds=(of_base, of_new),
    )
