"""Whether a network's gradient accounts for its answers, once for each checkpoint.

Finite differences beside a few volumes (`gradient_check`) see neither an answer that is flat there
and changes elsewhere (a vote, a histogram, a cached branch), nor a backward pass that is wrong for
some volumes only or leaves out what is small. Three checks do:

- From one clean volume to another of another class, the margin between both classes changes by the
  integral of its gradient along the way, if that is its gradient (the fundamental theorem of
  calculus; "completeness" in Sundararajan et al., ICML 2017, arXiv 1703.01365).
- Beside each of many volumes, finite differences agree with the gradient.
- Voxels without a gradient do not change the margin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.finite_differences import (
    COARSE,
    FINE,
    RANDOM,
    Points,
    answer,
    differentiate,
    errors,
    random_steps,
    relative,
    resolution,
    sizes,
)
from benchharness.attacks.core.objectives import margin
from benchharness.networks.batches import as_float
from benchharness.networks.behaviour import inapplicable, judged, state_kept
from benchharness.outside.containment import contained, in_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.classifier import Classifier
    from benchharness.store.records import Check

BETWEEN = "gradient adds up between volumes"
EACH = "gradient right for every volume"
SILENT = "voxels without a gradient change nothing"

VOLUMES = 32
"""Clean volumes that are looked at."""
PAIRS = 8
"""Ways between two of them."""
POINTS = (16, 64, 256)
"""Points of a way at which the gradient is taken, each in the middle of its part; more where few do
not account for the change, since some honest networks turn sharply."""
LENGTHS = ((FINE, COARSE), (FINE / 8, 2 * COARSE), (FINE / 32, 4 * COARSE))
"""Lengths of steps beside a volume; where these disagree, shorter ones for networks that turn
sharply and longer ones for those that round."""
MISSING = 0.15
"""Largest mean share of the change of the margin that the gradient may leave unexplained."""
NEAR = 1 / 255
"""How far from a clean volume differences are taken."""
WRONG = 0.5
"""Error of a volume's gradient, relative to its size, from which on it is wrong."""
FEW = 1 / 8
"""Largest share of the volumes whose gradient may be wrong: at kinks it is, by chance."""
UNHEARD = 0.15
"""Largest change that voxels without a gradient may bring, relative to that of all voxels."""
_NOTHING = 1e-6
"""Share of a volume's largest gradient up to which a voxel has none."""
_TOGETHER = 8
"""Volumes in a batch."""
_ALIKE = "no margin changes by as much as float32 resolves"


def checks(
    classifier: Classifier, volumes: Tensor | NDArray[np.unsignedinteger]
) -> tuple[Check, ...]:
    """Check the gradient that attacks follow.

    Args:
        classifier: In evaluation mode; its parameters, buffers and mode are as before when this
            returns.
        volumes: (N, C, D, H, W), float32 in [0, 1], uint8 or uint16; the first 32 are used.

    Returns:
        Three checks, *not applicable* with the reason where they cannot be made.
    """
    try:
        with contained(), classifier.frozen(), state_kept(classifier):
            clean = as_float(volumes[:VOLUMES], classifier.device).clone()
            with torch.no_grad():
                logits = torch.cat([answer(classifier, b) for b in torch.split(clean, _TOGETHER)])
            classes = logits.argmax(1)
            return (
                _between(classifier, clean, classes),
                _each(classifier, clean, classes),
                _silent(classifier, clean[:_TOGETHER], classes[:_TOGETHER]),
            )
    except Exception as error:
        # Whatever a network raises here it raises when it is attacked.
        reason = f"the gradient could not be watched: {in_one_line(error)}"
        return tuple(inapplicable(name, reason) for name in (BETWEEN, EACH, SILENT))


def passes(volumes: int) -> tuple[int, int]:
    """Forward and backward passes of a volume that `checks` takes, at most, given so many volumes.

    Of a network that passes at once: the first of `POINTS` and of `LENGTHS` are enough for it.
    """
    each, pairs = min(volumes, VOLUMES), min(volumes // 2, PAIRS)
    silent = min(volumes, _TOGETHER)
    beside = 2 * 2 * RANDOM  # both ends of every step, at two lengths
    forward = each + pairs * (2 + POINTS[0]) + each * (1 + beside) + silent * (1 + 2 * beside)
    return forward, pairs * POINTS[0] + each + silent


def _between(classifier: Classifier, clean: Tensor, classes: Tensor) -> Check:
    ways = _pairs(classes.tolist())
    if not ways:
        return inapplicable(BETWEEN, "the network answers all volumes with one class")
    first, second = (list(ends) for ends in zip(*ways, strict=True))
    ends, of_ends = (clean[first], clean[second]), (classes[first], classes[second])
    share = np.nan
    for points in POINTS:
        missing = _missing(classifier, ends, of_ends, points)
        if np.isnan(missing).all():
            return inapplicable(BETWEEN, _ALIKE)
        share = float(np.nanmean(missing))
        if share <= MISSING:
            break
    return judged(
        BETWEEN,
        share,
        MISSING,
        f"from one clean volume to another, the gradient leaves {share:.0%} of the margin's change "
        "unexplained: the answer also changes in ways that have no gradient, or another one",
    )


def _pairs(classes: Sequence[int]) -> list[tuple[int, int]]:
    """Each volume with the next free one of another class."""
    found: list[tuple[int, int]] = []
    free = list(range(len(classes)))
    while free and len(found) < PAIRS:
        one = free.pop(0)
        other = next((place for place in free if classes[place] != classes[one]), None)
        if other is not None:
            free.remove(other)
            found.append((one, other))
    return found


def _missing(
    classifier: Classifier,
    ends: tuple[Tensor, Tensor],
    classes: tuple[Tensor, Tensor],
    points: int,
) -> NDArray[np.float64]:
    """What the gradient misses on each way, as a share of the larger of both changes, 0 to 2.

    Args:
        classifier: The network.
        ends: (P, C, D, H, W) each.
        classes: (P,) each, what the network answers there.
        points: At how many the gradient is taken.

    Returns:
        (P,), NaN where both changes are rounding.
    """
    start, way = ends[0], ends[1] - ends[0]
    rows = torch.arange(len(way), device=way.device)

    def margins(point: Tensor) -> tuple[Tensor, Tensor]:
        logits = answer(classifier, point)
        return logits[rows, classes[1]] - logits[rows, classes[0]], logits.detach()

    with torch.no_grad():
        (before, one), (after, other) = margins(start), margins(ends[1])
    measured = (after.double() - before.double()).cpu().numpy()
    summed = torch.zeros(len(way), dtype=torch.float64, device=way.device)
    for part in range(points):
        point = (start + (part + 0.5) / points * way).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(margins(point)[0].sum(), point)
        summed += (gradient.double() * way).flatten(1).sum(1) / points
    predicted = summed.cpu().numpy()
    return relative(
        np.abs(measured - predicted),
        np.maximum(np.abs(measured), np.abs(predicted)),
        np.maximum(resolution(one), resolution(other)),
    )


def _each(classifier: Classifier, clean: Tensor, classes: Tensor) -> Check:
    found = np.full(len(clean), np.nan)
    share = np.nan
    for lengths in LENGTHS:
        # The best length of each volume counts: rounding spoils short steps, curvature long ones.
        found = np.fmin(found, _errors(classifier, clean, classes, lengths))
        known = found[~np.isnan(found)]
        if len(known) == 0:
            return inapplicable(EACH, _ALIKE)
        share = float((known > WRONG).mean())
        if share <= FEW:
            break
    return judged(
        EACH,
        share,
        FEW,
        f"for {share:.0%} of the volumes the margin changes along random directions otherwise than "
        f"the gradient says, by more than {WRONG:.0%} of the change",
    )


def _errors(
    classifier: Classifier, clean: Tensor, classes: Tensor, lengths: tuple[float, float]
) -> NDArray[np.float64]:
    """The error of each volume's gradient at the better of two lengths, (N,)."""
    parts = []
    batches = zip(torch.split(clean, _TOGETHER), torch.split(classes, _TOGETHER), strict=True)
    for number, (volumes, labels) in enumerate(batches):
        start, draws = _beside(volumes, number)
        local = differentiate(classifier, start, labels, margin)
        points = Points(start=start, steps=random_steps(draws, start, lengths))
        measured = local.changes(points.margins(classifier, local.margins, 1))
        predicted = local.changes(points.predicted(local.gradient))
        parts.append(errors(measured, predicted, local.resolution))
    better: NDArray[np.float64] = np.fmin.reduce(np.concatenate(parts, axis=1))
    return better


def _silent(classifier: Classifier, clean: Tensor, classes: Tensor) -> Check:
    start, draws = _beside(clean, 0)
    local = differentiate(classifier, start, classes, margin)
    slopes = local.gradient.abs()
    mute = slopes <= _NOTHING * slopes.flatten(1).amax(1).view(-1, 1, 1, 1, 1)
    if not mute.any():
        return judged(SILENT, 0.0, UNHEARD, "")
    everywhere = random_steps(draws, start)
    there = [(direction * mute, length) for direction, length in everywhere]
    by_mute, by_all = (
        sizes(local.changes(Points(start=start, steps=own).margins(classifier, local.margins, 1)))
        for own in (there, everywhere)
    )
    found = np.fmin.reduce(relative(by_mute, by_all, local.resolution))
    known = found[~np.isnan(found)]
    if len(known) == 0:
        return inapplicable(SILENT, _ALIKE)
    return judged(
        SILENT,
        float(known.mean()),
        UNHEARD,
        f"voxels whose gradient is zero bring {known.mean():.0%} of the change that all bring: the "
        "backward pass leaves them out",
    )


def _beside(volumes: Tensor, number: int) -> tuple[Tensor, Draws]:
    """A random point near each volume of a batch, whose grid of intensities it leaves."""
    ids = [f"{number} {row}" for row in range(len(volumes))]
    draws = Draws(ids, "whole gradient", device=volumes.device)
    return (volumes + draws.uniform(volumes, -NEAR, NEAR)).clamp(0, 1), draws
