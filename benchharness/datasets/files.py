"""A user's own volumes as a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.canonical import pairs
from benchharness.datasets import listing, prepared
from benchharness.datasets.base import Dataset, Split
from benchharness.datasets.preparation import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.canonical import Pairs, Value
    from benchharness.datasets.base import Modality, SplitName
    from benchharness.datasets.items import Item, Listing
    from benchharness.datasets.preparation import Preparation
    from benchharness.datasets.prepared import Prepared


def load(source: Path, preparation: Preparation) -> Dataset:
    """Load a folder `train|val|test/<class>/*` or a CSV of volumes.

    Args:
        source: The folder or the CSV; paths in a CSV are relative to it.
        preparation: Size, spacing and window.

    Raises:
        BenchError: When `listing.read` refuses the source or `prepared.load` refuses a volume.
    """
    found = listing.read(source, preparation.channels, preparation.classes)
    made = prepared.load(found, prepared.making(preparation))
    return dataset(
        found,
        made,
        modality=preparation.modality or ("ct" if preparation.window.kind == "ct" else "unknown"),
        described=_description(made, preparation),
    )


def dataset(
    found: Listing,
    made: Prepared,
    *,
    modality: Modality,
    described: Pairs,
    remarks: tuple[str, ...] = (),
) -> Dataset:
    """A listing and its volumes as a dataset.

    Args:
        found: The listing; its name is the dataset's.
        made: Its volumes.
        modality: What they show.
        described: How they were made, for the reader.
        remarks: What else a reader should know.
    """

    def split(name: SplitName) -> Split:
        items = found.of(name)
        patients = [item.patient for item in items if item.patient is not None]
        return Split(
            ids=tuple(_identifier(found.name, item) for item in items),
            volumes=made.volumes[name],
            labels=np.asarray([item.label for item in items], dtype=np.int64),
            patients=tuple(patients) or None,
            spacing=made.spacing,
            metadata=tuple(
                (name, tuple(item.metadata[place] for item in items))
                for place, name in enumerate(found.columns)
            ),
        )

    return Dataset(
        name=found.name,
        classes=found.classes,
        modality=modality,
        digest=f"sha256:{made.digest}",
        default_recipe="quick",
        preparation=described,
        remarks=remarks,
        train=split("train"),
        val=split("val"),
        test=split("test"),
    )


def _description(made: Prepared, preparation: Preparation) -> Pairs:
    chosen: dict[str, Value] = {} if made.driver is None else {"fitted_to": made.driver}
    if preparation.channels is not None:
        chosen["channels"] = preparation.channels
    return pairs(
        {
            "size": preparation.size,
            "spacing": made.spacing,
            "window": str(preparation.window),
            "version": VERSION,
            "bits": preparation.bits,
            **chosen,
        }
    )


def _identifier(name: str, item: Item) -> str:
    parts = (name, item.split, item.patient, item.name)
    return "/".join(part for part in parts if part is not None)
