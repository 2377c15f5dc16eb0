"""Whether a gradient is that of the loss: finite differences on a few volumes of every cell.

A wrong gradient (a masked one, that of another function, a wrong backward pass) makes any attack
that follows it weak, and the network look robust (Athalye, Carlini & Wagner, ICML 2018). Moving a
volume a little way tells: the loss must change as the gradient predicts. Watched is the margin
between the label and its nearest rival, which does not vanish for confident networks, and the very
network, precision and backward pass that the attack uses.

All differences are central, from a random point near the clean volume: curvature cancels to first
order, and a volume's own grid of intensities is no special point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.finite_differences import (
    RANDOM,
    Local,
    Points,
    differentiate,
    errors,
    random_steps,
    relative,
)
from benchharness.attacks.core.norms import BUDGETS, LINF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from benchharness.attacks.core.objectives import Objective

WATCHED = 8
"""Volumes of a cell that are watched: those whose names hash lowest, whatever the batches."""

WIDEST = 2 / 255
"""Longest step along the gradient and the attack's own step, whatever the budget: beyond it honest
networks curve (they gain 0.86 of what was predicted at 2/255, 0.63 at 8/255, 0.37 at 16/255)."""
SHARES = (0.25, 1.0)
"""Steps along both, as shares of the budget or of `WIDEST`."""
_ALONG = 2
"""Directions of a volume's own: the steepest one and the attack's step."""

FORWARD = 1 + 2 * (_ALONG * len(SHARES) + 2 * RANDOM + 1)
"""Forward passes of a watched volume, at most."""
BACKWARD = 2
"""Backward passes of a watched volume, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """The watched volumes of a batch, before and after the attack."""

    clean: Tensor
    """(n, C, D, H, W)."""
    adversarial: Tensor
    """(n, C, D, H, W)."""
    labels: Tensor
    """(n,)."""
    withstood: Tensor
    """(n,), bool: right before and after the attack."""
    ids: Sequence[str]
    norm: str
    """A key of `norms.NORMS`."""
    severity: float
    objective: Objective
    """What the attack climbs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slopes:
    """How the watched volumes' margins change against what the gradient predicts.

    Each is NaN for a volume whose margin does not change by as much as the network's arithmetic
    resolves.
    """

    errors: NDArray[np.float64]
    """(2, n), over steps of `FINE` and `COARSE` along random signs: root mean square of measured
    less predicted change, relative to the larger of the two; it estimates
    ‖∇ − g‖ / max(‖∇‖, ‖g‖), from 0 to 2."""
    shortfall: NDArray[np.float64]
    """(n,), along the steepest direction and the attack's own step: the largest
    |measured − predicted|, relative to the largest of both over steps of that length, 0 to 2."""
    followed: NDArray[np.float64]
    """(n,): change along the gradient of what the attack climbs, as a share of that along the
    margin's; only for volumes that withstood, and NaN where the attack climbs the margin itself."""

    @classmethod
    def joined(cls, parts: Sequence[Slopes | None]) -> Slopes | None:
        """The slopes of several batches; None where none of their volumes was watched."""
        known = [part for part in parts if part is not None]
        if not known:
            return None
        return cls(
            errors=np.concatenate([part.errors for part in known], axis=1),
            shortfall=np.concatenate([part.shortfall for part in known]),
            followed=np.concatenate([part.followed for part in known]),
        )

    @property
    def error(self) -> float:
        """Mean error of the volumes at the length of step where it is smaller.

        NaN if no margin changes enough to tell. A length at which fewer than half as many change
        enough as at the other does not count.
        """
        found = [row[~np.isnan(row)] for row in self.errors]
        most = max(map(len, found))
        sizes = [float(row.mean()) for row in found if 2 * len(row) >= most > 0]
        return min(sizes, default=np.nan)


def chosen(ids: Sequence[str]) -> frozenset[str]:
    """The names of a cell's volumes that are watched."""
    return frozenset(sorted(ids, key=lambda name: randomness.seed_of("watched", name))[:WATCHED])


def slopes(
    classifier: nn.Module, sample: Sample, *, most: int, stochastic: bool, narrow: bool = False
) -> Slopes:
    """Compare measured with predicted changes.

    Args:
        classifier: The network that the attack differentiates, in evaluation mode.
        sample: The volumes to watch.
        most: Volumes that one pass may take.
        stochastic: Whether the network draws. It then gets the same draws at every pass, so that
            its answers are those of one function.
        narrow: Whether the attack's gradient is that of passes in bfloat16. It is held to what
            passes in float32 change, which decide.
    """
    widest = min(sample.severity, WIDEST) if sample.norm in BUDGETS else WIDEST
    draws = Draws(sample.ids, "finite differences", device=sample.clean.device)
    start = (sample.clean + draws.uniform(sample.clean, -widest / 2, widest / 2)).clamp(0, 1)
    local = differentiate(classifier, start, sample.labels, sample.objective, narrow=narrow)
    budget = BUDGETS.get(sample.norm, LINF)
    along = [budget.steepest(local.gradient), budget.spread(sample.adversarial - sample.clean)]
    steps = [
        *((direction, share * widest) for direction in along for share in SHARES),
        *random_steps(draws, start),
    ]
    if local.climbed is not None:
        steps.append((budget.steepest(local.climbed), SHARES[-1] * widest))
    points = Points(start=start, steps=steps)
    together = 1 if stochastic else max(1, most // len(start))
    measured = local.changes(points.margins(classifier, local.margins, together))
    return _summary(sample, measured, local.changes(points.predicted(local.gradient)), local)


def _summary(
    sample: Sample, measured: NDArray[np.float64], predicted: NDArray[np.float64], local: Local
) -> Slopes:
    """From changes (steps, n), in the order that `slopes` takes the steps."""
    count = _ALONG * len(SHARES)
    apart, size = np.abs(measured - predicted), np.maximum(np.abs(measured), np.abs(predicted))
    # An attack's step may hardly rise where it begins: its error counts against what is to gain.
    largest = np.tile(size[:count].reshape(_ALONG, len(SHARES), -1).max(0), (_ALONG, 1))
    shortfall = relative(apart[:count], largest, local.resolution)
    ends = count + 2 * RANDOM
    followed = np.full(len(sample.labels), np.nan)
    if local.climbed is not None:
        best, rows = measured[len(SHARES) - 1], sample.withstood.cpu().numpy()
        rows = rows & (best > local.resolution)
        followed[rows] = measured[-1][rows] / best[rows]
    return Slopes(
        errors=errors(measured[count:ends], predicted[count:ends], local.resolution),
        shortfall=np.fmax.reduce(shortfall),
        followed=followed,
    )
