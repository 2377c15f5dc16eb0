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
import torch
from torch.nn import functional as F

from benchharness import randomness
from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.norms import BUDGETS, LINF
from benchharness.attacks.core.objectives import margin, narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from benchharness.attacks.core.objectives import Objective

WATCHED = 8
"""Volumes of a cell that are watched: those whose names hash lowest, whatever the batches."""

FINE, COARSE = 0.5 / 255, 4 / 255
"""Lengths of a step along random signs. A network in float32 agrees best over short steps; one that
rounds inside (half precision, a quantised input) over steps longer than its rounding. The better of
the two counts."""
WIDEST = 2 / 255
"""Longest step along the gradient and the attack's own step, whatever the budget: beyond it honest
networks curve (they gain 0.86 of what was predicted at 2/255, 0.63 at 8/255, 0.37 at 16/255)."""
SHARES = (0.25, 1.0)
"""Steps along both, as shares of the budget or of `WIDEST`."""
_RANDOM = 3
"""Random directions at each length."""
_ALONG = 2
"""Directions of a volume's own: the steepest one and the attack's step."""

FORWARD = 1 + 2 * (_ALONG * len(SHARES) + 2 * _RANDOM + 1)
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
    local = _differentiate(classifier, start, sample, narrow=narrow)
    budget = BUDGETS.get(sample.norm, LINF)
    along = [budget.steepest(local.gradient), budget.spread(sample.adversarial - sample.clean)]
    steps = [
        *((direction, share * widest) for direction in along for share in SHARES),
        *((draws.signs(start), length) for length in (FINE, COARSE) for _ in range(_RANDOM)),
    ]
    if local.climbed is not None:
        steps.append((budget.steepest(local.climbed), SHARES[-1] * widest))
    points = _Points(start=start, steps=steps)
    together = 1 if stochastic else max(1, most // len(start))
    measured = local.changes(points.margins(classifier, local.margins, together))
    return _summary(sample, measured, local.changes(points.predicted(local.gradient)), local)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Local:
    """What a pass each way tells at the starting points."""

    labels: Tensor
    rivals: Tensor
    """(n,): the wrong class with the largest logit."""
    gradient: Tensor
    """(n, C, D, H, W), of the margin."""
    climbed: Tensor | None
    """The same of what the attack climbs; None where that is the margin."""
    resolution: NDArray[np.float64]
    """(n,): changes of the margin up to this may be rounding."""

    def margins(self, logits: Tensor) -> Tensor:
        """Rival's less label's logit for logits (…, n, K), float64 (…, n)."""
        rows = torch.arange(len(self.labels), device=logits.device)
        logits = logits.double()
        return logits[..., rows, self.rivals] - logits[..., rows, self.labels]

    @staticmethod
    def changes(values: Tensor) -> NDArray[np.float64]:
        return values.cpu().numpy()


def _differentiate(classifier: nn.Module, start: Tensor, sample: Sample, *, narrow: bool) -> _Local:
    point = start.detach().requires_grad_()
    with torch.enable_grad():
        with narrowed(start.device, narrow=narrow):
            logits = _answer(classifier, point)
        own = F.one_hot(sample.labels, logits.shape[1]).bool()
        rivals = logits.detach().masked_fill(own, -torch.inf).argmax(1)
        rows = torch.arange(len(start), device=start.device)
        difference = logits[rows, rivals] - logits[rows, sample.labels]
        climbs = sample.objective is not margin
        (gradient,) = torch.autograd.grad(difference.sum(), point, retain_graph=climbs)
        climbed = None
        if climbs:
            value = sample.objective(logits, sample.labels).sum()
            (climbed,) = torch.autograd.grad(value, point)
    return _Local(
        labels=sample.labels,
        rivals=rivals,
        gradient=gradient,
        climbed=climbed,
        resolution=_resolution(logits.detach(), narrow=narrow),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Both ends of every step from the starting points."""

    start: Tensor
    steps: Sequence[tuple[Tensor, float]]
    """Directions (n, C, D, H, W) and how far to go along each, both ways."""

    def ends(self) -> Iterator[Tensor]:
        """Forwards and backwards in turn, cut at 0 and 1."""
        for direction, length in self.steps:
            yield (self.start + length * direction).clamp(0, 1)
            yield (self.start - length * direction).clamp(0, 1)

    def predicted(self, gradient: Tensor) -> Tensor:
        """The gradient's product with the way between both ends, float64 (steps, n)."""
        ends = iter(self.ends())
        # A step that [0, 1] cuts short is predicted as short as it is.
        ways = ((ahead.double() - next(ends)) * gradient for ahead in ends)
        return torch.stack([way.flatten(1).sum(1) for way in ways])

    @torch.no_grad()
    def margins(
        self, classifier: nn.Module, margins: Callable[[Tensor], Tensor], together: int
    ) -> Tensor:
        """The margins' differences between both ends, float64 (steps, n).

        Args:
            classifier: Maps volumes to logits.
            margins: Maps logits (…, n, K) to margins (…, n).
            together: Ends that one pass takes.
        """
        found, waiting = [], []
        for number, end in enumerate(self.ends(), start=1):
            waiting.append(end)
            if len(waiting) == together or number == 2 * len(self.steps):
                logits = _answer(classifier, torch.cat(waiting))
                found.append(margins(logits.view(len(waiting), len(self.start), -1)))
                waiting = []
        values = torch.cat(found)
        return values[::2] - values[1::2]


def _answer(classifier: nn.Module, volumes: Tensor) -> Tensor:
    """Logits as float32, with the same draws every time where the network draws."""
    with randomness.isolated("finite differences"):
        return classifier(volumes).float()  # type: ignore[no-any-return]


def _resolution(logits: Tensor, *, narrow: bool) -> NDArray[np.float64]:
    """What rounding may change a margin by, for logits (n, K); float64 (n,).

    The type that the network ends in shows in its logits, even if it returns float32. Logits of
    a narrow pass do not tell: the margins are measured in float32.
    """
    step = 8 * torch.finfo(torch.float32).eps
    for kind in () if narrow else (torch.float16, torch.bfloat16):
        if torch.equal(logits.to(kind).float(), logits):
            step = torch.finfo(kind).eps
    return (8 * step * logits.abs().amax(1).double()).cpu().numpy()


def _summary(
    sample: Sample, measured: NDArray[np.float64], predicted: NDArray[np.float64], local: _Local
) -> Slopes:
    """From changes (steps, n), in the order that `slopes` takes the steps."""
    count = _ALONG * len(SHARES)
    apart, size = np.abs(measured - predicted), np.maximum(np.abs(measured), np.abs(predicted))
    # An attack's step may hardly rise where it begins: its error counts against what is to gain.
    largest = np.tile(size[:count].reshape(_ALONG, len(SHARES), -1).max(0), (_ALONG, 1))
    shortfall = _relative(apart[:count], largest, local.resolution)
    ends = count + 2 * _RANDOM
    shape = (2, _RANDOM, len(sample.labels))
    off, found, expected = (
        np.sqrt((values[count:ends].reshape(shape) ** 2).mean(1))
        for values in (measured - predicted, measured, predicted)
    )
    followed = np.full(shape[-1], np.nan)
    if local.climbed is not None:
        best, rows = measured[len(SHARES) - 1], sample.withstood.cpu().numpy()
        rows = rows & (best > local.resolution)
        followed[rows] = measured[-1][rows] / best[rows]
    return Slopes(
        errors=_relative(off, np.maximum(found, expected), local.resolution),
        shortfall=np.fmax.reduce(shortfall),
        followed=followed,
    )


def _relative(
    apart: NDArray[np.float64], size: NDArray[np.float64], resolution: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`apart / size`, NaN where the size is not above what is resolved."""
    resolved = size > resolution
    return np.where(resolved, apart / np.where(resolved, size, 1.0), np.nan)
