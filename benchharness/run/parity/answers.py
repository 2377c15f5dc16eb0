"""Two sets of logits of the same volumes: how far apart they are, and what detail explains it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from scipy import special
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Order = tuple[int, ...]

_FEW = 4
"""Most classes of which every order is tried where only a metric is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What happened to logits on their way into a file."""

    words: str
    remedy: str


def apart(ours: Array, theirs: Array) -> Array:
    """Difference of two answers to each volume, relative to their largest logit, (N,).

    Logits below 1 count as 1. One logit z of a binary task stands for [0, z].
    """
    if theirs.shape[1] == 1:
        ours, theirs = ours[:, 1:] - ours[:, :1], theirs
    largest = np.maximum(np.abs(theirs).max(1), 1.0)
    difference: Array = np.abs(ours - theirs).max(1) / largest
    return difference


def details(ours: Array, theirs: Array, tolerance: float) -> Iterator[Detail]:
    """What explains the difference to within the tolerance, the likeliest first."""
    if _softened(ours, theirs, tolerance):
        yield SOFTMAX
    if theirs.shape[1] < 2:
        return
    if apart(_log_softmax(ours), _log_softmax(theirs)).max() <= tolerance:
        yield CONSTANT
    order = _class_order(ours, theirs)
    if order != tuple(range(len(order))):
        swapped = ours[:, order]
        if apart(swapped, theirs).max() <= tolerance:
            yield classes_ordered(order)
        elif _softened(swapped, theirs, tolerance):
            both = classes_ordered(order)
            yield Detail(
                words=f"{SOFTMAX.words}, and {both.words}", remedy=f"{SOFTMAX.remedy} {both.remedy}"
            )
    if _reordered(ours, theirs, tolerance):
        yield VOLUMES


def _softened(ours: Array, theirs: Array, tolerance: float) -> bool:
    """Whether theirs are probabilities of our logits."""
    soft = special.softmax(ours, axis=1)
    if theirs.shape[1] == 1:
        soft = soft[:, 1:]
    return bool((theirs >= 0).all() and np.abs(soft - theirs).max() <= tolerance)


def _log_softmax(logits: Array) -> Array:
    found: Array = special.log_softmax(logits, axis=1)
    return found


def _class_order(ours: Array, theirs: Array) -> Order:
    """For each of their classes the one of ours that is nearest, each used once."""
    cost = np.abs(theirs[:, :, None] - ours[:, None, :]).mean(0)
    return tuple(map(int, linear_sum_assignment(cost)[1]))


def _reordered(ours: Array, theirs: Array, tolerance: float) -> bool:
    """Whether theirs are our rows in another order."""
    distances, nearest = cKDTree(ours).query(theirs)
    bound = tolerance * np.maximum(np.abs(theirs).max(1), 1.0)
    return bool((distances <= bound).all()) and len(set(nearest.tolist())) == len(theirs)


def orders(classes: int) -> Sequence[Order]:
    """Orders of classes other than the usual one; the reverse alone where there are many."""
    usual = tuple(range(classes))
    if classes > _FEW:
        return [usual[::-1]]
    return [order for order in permutations(usual) if order != usual]


def metric(name: str, labels: NDArray[np.int64], logits: Array) -> float | None:
    """A metric of logits; None where it is undefined."""
    return metrics.compute(labels, logits)[0][name]


def labels_differ(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> Detail | None:
    """How the labels in a file differ from the dataset's; None where they do not."""
    wrong = np.flatnonzero(ours != theirs)
    if not len(wrong):
        return None
    pairs = sorted(set(zip(theirs.tolist(), ours.tolist(), strict=True)))
    if len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs}):
        mapping = ", ".join(f"{a} is {b} here" for a, b in pairs if a != b)
        return Detail(
            words=f"the labels number the classes otherwise: your {mapping}",
            remedy="Number the classes of your data as the dataset does, and its outputs too.",
        )
    return Detail(
        words=f"{len(wrong)} of {len(ours)} labels are others (first: volume {wrong[0]} is "
        f"{theirs[wrong[0]]} in your file and {ours[wrong[0]]} here)",
        remedy="Check that ids, split and order of your file are those of this dataset.",
    )


def classes_ordered(order: Order) -> Detail:
    """The classes are in another order."""
    return Detail(
        words=f"the classes are in another order: yours are {list(order)} of ours",
        remedy=f"Let your factory return logits[:, {list(order)}], or number your labels likewise.",
    )


SOFTMAX = Detail(
    words="the file holds probabilities: the softmax of these logits",
    remedy="Save what comes before the softmax or sigmoid.",
)
CONSTANT = Detail(
    words="the file holds these logits but for a constant a volume, as a log-softmax does",
    remedy="Save what comes before the log-softmax.",
)
VOLUMES = Detail(
    words="the volumes are in another order",
    remedy="Save their ids beside the logits: numpy.savez(path, logits=..., ids=...).",
)
