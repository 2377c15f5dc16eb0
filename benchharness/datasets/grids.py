"""One grid for all volumes of a listing: its spacing, and the volumes on it, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.datasets import reading
from benchharness.datasets.parallel import each, flowing
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.datasets.base import Levels, Spacing, SplitName
    from benchharness.datasets.items import Item, Listing
    from benchharness.datasets.preparation import Preparation


_MICROMETRES = 0.1
"""From this spacing up `fit` counts in whole micrometres, which are at most 1 % of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The grid's spacing and where it comes from."""

    spacing: Spacing
    """In mm, or in voxels where the files do not tell mm."""
    physical: bool
    """Whether it is in mm."""
    driver: str | None
    """The training volume that `fit` had to hold; None for a stated spacing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grids:
    """The volumes of a listing on their grid."""

    volumes: dict[SplitName, Levels]
    """By split, (N, C, D, H, W) in the order of the listing."""
    marks: tuple[tuple[SplitName, str, tuple[str, ...]], ...]
    """Split, name and `reading.Made.marks` of the volumes that have any."""


def find_spacing(found: Listing, preparation: Preparation) -> Fit:
    """The grid's spacing, stated or fitted.

    Raises:
        BenchError: When a header cannot be read, or some files state a spacing and some do not.
    """
    channels = _within(preparation)
    headers = each(found.items, lambda item: reading.header(item.path, channels), "reading headers")
    physical = _physical(found, headers, preparation)
    if preparation.spacing is not None:
        return Fit(spacing=preparation.spacing, physical=physical, driver=None)
    needs = {
        item.name: max(n / side for n, side in zip(header.extent, preparation.size, strict=True))
        for item, header in zip(found.items, headers, strict=True)
        if item.split == "train"
    }
    # Headers hold float32: of equal volumes the first drives it, not the one that rounding favours.
    driver = max(needs, key=lambda name: float(f"{needs[name]:.6g}"))
    step = _rounded_up(max(needs.values()))
    return Fit(spacing=(step, step, step), physical=physical, driver=driver)


def _physical(found: Listing, headers: list[reading.Header], preparation: Preparation) -> bool:
    """Whether the files state their spacing; all must, or none."""
    without = [
        item for item, header in zip(found.items, headers, strict=True) if header.affine is None
    ]
    if without and preparation.spacing is not None:
        raise BenchError(
            f"{without[0].path} has no spacing, so --spacing does not apply to it. Leave --spacing "
            "out, or save the volume as NIfTI."
        )
    if without and len(without) < len(headers):
        raise BenchError(
            f"{found.source} mixes .npy files, which have no spacing ({without[0].name}), with "
            "files that have one. Save all as NIfTI or all as .npy."
        )
    return not without


def _rounded_up(needed: float) -> float:
    """The finest isotropic spacing that cuts nothing: in whole micrometres, or to four digits."""
    digits = 3 if needed >= _MICROMETRES else 3 - math.floor(math.log10(needed))
    return round(math.ceil(needed * 10.0**digits - 1e-3) / 10.0**digits, digits)


def volumes(found: Listing, preparation: Preparation, spacing: Spacing) -> Iterator[reading.Made]:
    """Read every volume and resample it to the grid, in the order of the listing.

    Raises:
        BenchError: When a volume cannot be read or used (see `reading.make`).
    """
    channels = _within(preparation)

    def made(item: Item) -> reading.Made:
        return reading.make(item.paths, preparation, spacing, channels)

    return flowing(found.items, made, "preparing volumes")


def _within(preparation: Preparation) -> int | None:
    """How many channels a file holds; None where each has a file."""
    return preparation.channels if isinstance(preparation.channels, int) else None
