"""The cells and gaps of a comparison, grouped by the endpoint that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.comparison.alignment import PairedCell
    from benchharness.comparison.places import Gap, Place

    Key = tuple[str, str, str]
    """Model, dataset and family."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """The cells of one endpoint, and what it lacks."""

    place: Place
    """Of any of them."""
    dataset: str
    """The dataset's name, with the number of volumes where there are several sets of them."""
    cells: tuple[PairedCell, ...]
    gaps: tuple[Gap, ...]

    @property
    def refused(self) -> bool:
        """Whether a cell was refused; the endpoint then cannot be judged."""
        return any(gap.kind == "refused" for gap in self.gaps)

    @property
    def lost(self) -> bool:
        """Whether BASE has cells of the endpoint and NEW has none."""
        return not self.cells and not self.refused and any(gap.lost for gap in self.gaps)


def grouped(cells: Sequence[PairedCell], gaps: Sequence[Gap]) -> list[Group]:
    """Group by model, dataset, family and set of volumes, in the order of the matrix."""
    counted = [gap for gap in gaps if gap.kind != "unreferenced"]
    places: dict[Key, Place] = {}
    for place in (*(cell.place for cell in cells), *(gap.place for gap in counted)):
        places.setdefault(_key(place), place)
    return [
        group
        for key, place in sorted(places.items(), key=lambda item: item[1].family_order)
        for group in _by_volumes(
            place,
            [cell for cell in cells if _key(cell.place) == key],
            [gap for gap in counted if _key(gap.place) == key],
        )
    ]


def _key(place: Place) -> Key:
    return (place.model, place.dataset, place.family_title)


def _by_volumes(place: Place, cells: Sequence[PairedCell], gaps: Sequence[Gap]) -> list[Group]:
    """One group for each set of volumes, the largest first."""
    sets: dict[tuple[str, ...], list[PairedCell]] = {}
    for cell in cells:
        sets.setdefault(cell.ids, []).append(cell)
    # What is missing is counted once, with the largest set; what is refused bars every set.
    lacking = tuple(gaps)
    found = []
    for ids, own in sorted(sets.items(), key=lambda item: -len(item[0])) or [((), [])]:
        subset = f" ({len(ids)} of {own[0].total})" if len(sets) > 1 else ""
        found.append(
            Group(
                place=place,
                dataset=place.dataset + subset,
                cells=tuple(own),
                gaps=lacking,
            )
        )
        lacking = tuple(gap for gap in lacking if gap.kind == "refused")
    return found
