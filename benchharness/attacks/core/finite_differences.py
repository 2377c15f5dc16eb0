"""Measured against predicted changes of a network's margin over small steps.

Watched is the margin between a class and its nearest rival, which does not vanish for confident
networks. All differences are central: curvature cancels to first order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from benchharness import randomness
from benchharness.attacks.core.objectives import margin, narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from benchharness.attacks.core.draws import Draws
    from benchharness.attacks.core.objectives import Objective

FINE, COARSE = 0.5 / 255, 4 / 255
"""Lengths of a step along random signs. A network in float32 agrees best over short steps; one that
rounds inside (half precision, a quantised input) over steps longer than its rounding. The better of
the two counts."""
RANDOM = 3
"""Random directions at each length."""

Steps = list[tuple["Tensor", float]]
"""Directions (n, C, D, H, W), and how far to go along each, both ways."""


def random_steps(
    draws: Draws, start: Tensor, lengths: tuple[float, float] = (FINE, COARSE)
) -> Steps:
    """Along random signs, `RANDOM` at each of two lengths."""
    return [(draws.signs(start), length) for length in lengths for _ in range(RANDOM)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Local:
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
        """Values for NumPy."""
        return values.cpu().numpy()


def differentiate(
    classifier: nn.Module,
    start: Tensor,
    labels: Tensor,
    objective: Objective,
    *,
    narrow: bool = False,
) -> Local:
    """A pass each way at volumes `start` (n, C, D, H, W) with labels (n,).

    Args:
        classifier: Maps volumes to logits.
        start: Where.
        labels: The classes that margins are of.
        objective: What the attack climbs; its gradient is found too unless it is the margin.
        narrow: Whether this pass is one in bfloat16.
    """
    point = start.detach().requires_grad_()
    with torch.enable_grad():
        with narrowed(start.device, narrow=narrow):
            logits = answer(classifier, point)
        own = F.one_hot(labels, logits.shape[1]).bool()
        rivals = logits.detach().masked_fill(own, -torch.inf).argmax(1)
        rows = torch.arange(len(start), device=start.device)
        difference = logits[rows, rivals] - logits[rows, labels]
        climbs = objective is not margin
        (gradient,) = torch.autograd.grad(difference.sum(), point, retain_graph=climbs)
        climbed = None
        if climbs:
            value = objective(logits, labels).sum()
            (climbed,) = torch.autograd.grad(value, point)
    return Local(
        labels=labels,
        rivals=rivals,
        gradient=gradient,
        climbed=climbed,
        resolution=resolution(logits.detach(), narrow=narrow),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Both ends of every step from the starting points."""

    start: Tensor
    steps: Steps

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
                logits = answer(classifier, torch.cat(waiting))
                found.append(margins(logits.view(len(waiting), len(self.start), -1)))
                waiting = []
        values = torch.cat(found)
        return values[::2] - values[1::2]


def answer(classifier: nn.Module, volumes: Tensor) -> Tensor:
    """Logits as float32, with the same draws every time where the network draws."""
    with randomness.isolated("finite differences"):
        return classifier(volumes).float()  # type: ignore[no-any-return]


def resolution(logits: Tensor, *, narrow: bool = False) -> NDArray[np.float64]:
    """What rounding may change a margin by, for logits (n, K); float64 (n,).

    The type that the network ends in shows in its logits, even if it returns float32. Logits of
    a narrow pass do not tell: the margins are measured in float32.
    """
    step = 8 * torch.finfo(torch.float32).eps
    for kind in () if narrow else (torch.float16, torch.bfloat16):
        if torch.equal(logits.to(kind).float(), logits):
            step = torch.finfo(kind).eps
    return (8 * step * logits.abs().amax(1).double()).cpu().numpy()


def errors(
    measured: NDArray[np.float64], predicted: NDArray[np.float64], resolved: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`Slopes.errors` from changes (2 · `RANDOM`, n), in the order of `random_steps`."""
    off, found, expected = map(sizes, (measured - predicted, measured, predicted))
    return relative(off, np.maximum(found, expected), resolved)


def sizes(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The root mean square of changes (2 · `RANDOM`, n) at each length of step, (2, n)."""
    found: NDArray[np.float64] = np.sqrt((changes.reshape(2, RANDOM, -1) ** 2).mean(1))
    return found


def relative(
    apart: NDArray[np.float64], size: NDArray[np.float64], resolution: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`apart / size`, NaN where the size is not above what is resolved."""
    resolved = size > resolution
    return np.where(resolved, apart / np.where(resolved, size, 1.0), np.nan)
