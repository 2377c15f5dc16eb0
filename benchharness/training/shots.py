"""Few labelled volumes: which of a train split, so that fewer are always some of more."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from benchharness.datasets.base import Split


def choose(split: Split, count: int | None, *, name: str) -> Split:
    """Take at most so many volumes, stratified by class, patients whole.

    All patients stand in one order, and the first of them are taken while their volumes fit: 16
    shots are some of 64. The order begins with a patient of each class; then each class comes as
    often as its share of the split. Within a class a hash of the patient's name decides. A patient
    of several classes counts as of the one that most of the volumes have, of the first where
    several have as many. Where nothing is known of patients, each volume is one.

    Args:
        split: The target's train split.
        count: How many volumes; None takes all.
        name: Of the dataset, for messages.

    Raises:
        BenchError: When the split has fewer, or the first patients have more than that.
    """
    if count is None:
        return split
    if count > len(split):
        raise BenchError(
            f"--shots {count} is more than {name} has: {len(split)} volumes in its train split. "
            "Type all, or fewer."
        )
    taken: list[int] = []
    for members in _order(split):
        if len(taken) + len(members) > count:
            break
        taken += members
    classes = len(np.unique(split.labels))
    if len(np.unique(split.labels[taken])) < classes:
        raise BenchError(
            f"--shots {count} on {name} shows {len(np.unique(split.labels[taken]))} of its "
            f"{classes} classes with whole patients. Take more."
        )
    return split.select(np.sort(np.asarray(taken)))


def _order(split: Split) -> list[list[int]]:
    """The volumes of every patient, by their places, in the order in which they are taken."""
    owners = split.patients or split.ids
    of: dict[str, list[int]] = defaultdict(list)
    for place, owner in enumerate(owners):
        of[owner].append(place)
    by_class: dict[int, list[str]] = defaultdict(list)
    for owner in sorted(of, key=lambda owner: (randomness.seed_of("shots", owner), owner)):
        labels, counts = np.unique(split.labels[of[owner]], return_counts=True)
        by_class[int(labels[np.argmax(counts)])].append(owner)
    keyed: list[tuple[float, int, int, str]] = []
    for label, members in by_class.items():
        total, before = sum(len(of[owner]) for owner in members), 0
        for rank, owner in enumerate(members):
            size = len(of[owner])
            keyed.append((-1.0 if rank == 0 else (before + size / 2) / total, label, rank, owner))
            before += size
    return [of[owner] for *_, owner in sorted(keyed)]
