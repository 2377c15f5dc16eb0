"""One grid for all volumes of a listing: its spacing, and the volumes on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.datasets import reading
from benchharness.datasets.base import SPLITS
from benchharness.datasets.parallel import each
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.datasets.base import Spacing, SplitName
    from benchharness.datasets.listing import Item, Listing
    from benchharness.datasets.preparation import Preparation


def find_spacing(found: Listing, preparation: Preparation) -> tuple[Spacing, bool]:
    """The grid's spacing, stated or fitted, and whether it is in millimetres.

    Raises:
        BenchError: When a header cannot be read, or some files state a spacing and some do not.
    """
    headers = each(found.items, lambda item: reading.header(item.path), "reading headers")
    physical = _physical(found, headers, preparation)
    return preparation.spacing or _fitting(found, headers, preparation.size), physical


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


def _fitting(found: Listing, headers: list[reading.Header], size: tuple[int, int, int]) -> Spacing:
    """The finest isotropic spacing that cuts no training volume, in whole micrometres."""
    needed = max(
        extent / side
        for item, header in zip(found.items, headers, strict=True)
        if item.split == "train"
        for extent, side in zip(header.extent, size, strict=True)
    )
    step = math.ceil(needed * 1000 - 1e-3) / 1000
    return step, step, step


def volumes(
    found: Listing, preparation: Preparation, spacing: Spacing
) -> dict[SplitName, NDArray[np.uint8]]:
    """Read every volume and resample it to the grid.

    Returns:
        By split, (N, 1, D, H, W) in the order of the listing.

    Raises:
        BenchError: When a volume cannot be read or used; see `reading.grid`.
    """

    def made(item: Item) -> NDArray[np.uint8]:
        return reading.grid(
            item.path, size=preparation.size, spacing=spacing, window=preparation.window
        )

    # TorchIO draws from torch's global generator whether to apply a transform.
    with randomness.isolated("preparation"):
        grids = each(found.items, made, "preparing volumes")
    by_split = {
        split: [grid for item, grid in zip(found.items, grids, strict=True) if item.split == split]
        for split in SPLITS
    }
    return {split: np.stack(members)[:, None] for split, members in by_split.items()}
