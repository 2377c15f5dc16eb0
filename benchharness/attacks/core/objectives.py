"""What attacks maximise, and the worst point seen of every volume.

An objective maps logits (B, K) and labels (B,) to values (B,); higher is worse for the network.
Gradients are those of the sum over the batch, so that each volume's is that of its own value.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    Objective = Callable[[Tensor, Tensor], Tensor]

NOT_CROSS_ENTROPY = "the attack does not raise the cross-entropy; take AUC from apgd_ce or pgd"
"""Why the AUC is undefined for other objectives."""

STOPS_ONCE_BROKEN = "the search ends at a volume once it is broken; take AUC from apgd_ce or pgd"
"""Why the AUC is undefined for a search that leaves broken volumes alone."""

_TINY = 1e-12
"""Added to the denominators of the DLR losses, as in AutoAttack's code."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `−log p_y`."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `max_{j≠y} z_j − z_y`: positive where misclassified, and never saturated.

    Carlini & Wagner, S&P 2017, loss f₆ without its floor; for any number of classes.
    """
    own = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - _own(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio, `(max_{j≠y} z_j − z_y) / (z_π1 − z_π3)`.

    Croce & Hein, ICML 2020, eq. 6; for at least 3 classes.
    """
    ranked = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + _TINY)


def targeted_dlr(targets: Tensor) -> Objective:
    """Targeted ratio, `(z_t − z_y) / (z_π1 − (z_π3 + z_π4) / 2)`, for targets t (B,).

    Croce & Hein, ICML 2020, eq. 7; for at least 4 classes.
    """

    def objective(logits: Tensor, labels: Tensor) -> Tensor:
        ranked = logits.sort(dim=1, descending=True).values
        spread = ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2 + _TINY
        return (_own(logits, targets) - _own(logits, labels)) / spread

    return objective


def towards(targets: Tensor) -> Objective:
    """Difference of logits, `z_t − z_y`, for targets t (B,)."""

    def objective(logits: Tensor, labels: Tensor) -> Tensor:
        return _own(logits, targets) - _own(logits, labels)

    return objective


def ranked_targets(logits: Tensor, labels: Tensor) -> Tensor:
    """The wrong classes from the likeliest to the least likely, (B, K−1)."""
    own = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).argsort(dim=1, descending=True)[:, :-1]


def choose(rows: Tensor, chosen: Tensor, otherwise: Tensor) -> Tensor:
    """Volumes (B, C, D, H, W): `chosen` in the rows of a mask (B,), `otherwise` elsewhere."""
    return torch.where(rows.view(-1, 1, 1, 1, 1), chosen, otherwise)


def _own(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """An objective and its gradient at a batch of points."""

    values: Tensor
    """(B,): the objective."""
    gradient: Tensor
    """(B, C, D, H, W): of each value with respect to its own volume."""
    decided: Tensor | None
    """(B,), bool: `broken`, where these passes tell."""
    decide: Callable[[], Tensor]
    """Makes the passes that tell where these do not."""

    @property
    def broken(self) -> Tensor:
        """(B,), bool: whether the prediction differs from the label."""
        return self.decide() if self.decided is None else self.decided


def evaluate(
    classifier: Callable[[Tensor], Tensor],
    volumes: Tensor,
    labels: Tensor,
    objective: Objective,
    *,
    samples: int = 1,
) -> Evaluation:
    """Evaluate an objective and its gradient.

    Args:
        classifier: Maps volumes to logits.
        volumes: (B, C, D, H, W).
        labels: (B,).
        objective: What to differentiate.
        samples: Passes to average over; more than 1 attacks the expectation of a stochastic
            network (Athalye, Engstrom, Ilyas & Kwok, ICML 2018), which predicts by its mean logits.
    """
    logits, values, gradient = _look(classifier, volumes, labels, objective)
    for _ in range(samples - 1):
        more = _look(classifier, volumes, labels, objective)
        logits, values, gradient = logits + more[0], values + more[1], gradient + more[2]
    if samples > 1:
        values, gradient = values / samples, gradient / samples
    broken = None
    if not narrow(classifier):
        broken = logits.argmax(1) != labels
    return Evaluation(
        values=values,
        gradient=gradient,
        decided=broken,
        decide=lambda: is_broken(classifier, volumes, labels, samples),
    )


def narrowed(device: torch.device, *, narrow: bool) -> AbstractContextManager[object]:
    """Passes inside are in bfloat16 where torch's autocast holds that safe, if they are to be."""
    return torch.autocast(device.type, torch.bfloat16) if narrow else nullcontext()


def narrow(classifier: Callable[[Tensor], Tensor]) -> bool:
    """Whether passes that need a gradient are too coarse to decide by."""
    return bool(getattr(classifier, "narrow", False))


@torch.no_grad()
def is_broken(
    classifier: Callable[[Tensor], Tensor], volumes: Tensor, labels: Tensor, samples: int = 1
) -> Tensor:
    """Whether the prediction differs from the label, by passes without a gradient, bool (B,)."""
    logits = classifier(volumes).float()
    for _ in range(samples - 1):
        logits = logits + classifier(volumes).float()
    return logits.argmax(1) != labels


def _look(
    classifier: Callable[[Tensor], Tensor], volumes: Tensor, labels: Tensor, objective: Objective
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, objective and gradient of one pass each way."""
    point = volumes.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier(point).float()
        values = objective(logits, labels)
    (slope,) = torch.autograd.grad(values.sum(), logits, retain_graph=True)
    scale = _power_of_two(slope)
    (gradient,) = torch.autograd.grad(logits, point, slope * scale)
    return logits.detach(), values.detach(), gradient / scale.view(-1, 1, 1, 1, 1)


def _power_of_two(slope: Tensor) -> Tensor:
    """The power of two that brings the largest of each row (B, K) near 1; (B, 1).

    The slope of a confident volume's cross-entropy is so small that half precision inside a network
    rounds its gradient to zero. A power of two changes no bit of what does not underflow.
    """
    _, exponent = torch.frexp(slope.abs().amax(1, keepdim=True))
    return torch.ldexp(torch.ones_like(slope[:, :1]), -exponent.clamp(-100, 100))


class Worst:
    """The worst point seen of every volume: a misclassified one first, then by objective.

    Args:
        volumes: (B, C, D, H, W), kept until other points are offered.
    """

    def __init__(self, volumes: Tensor) -> None:
        self.volumes = volumes.clone()
        self.broken = torch.zeros(len(volumes), dtype=torch.bool, device=volumes.device)
        self.values = torch.full((len(volumes),), -torch.inf, device=volumes.device)

    def offer(
        self, volumes: Tensor, values: Tensor, broken: Tensor, rows: Tensor | None = None
    ) -> None:
        """Keep the points that are worse than those kept so far.

        Args:
            volumes: (n, C, D, H, W).
            values: (n,), the objective.
            broken: (n,), bool.
            rows: (n,), the volumes of the batch that they belong to; all, in order, when None.
        """
        # Masks would make the host wait for the device, to learn how many rows they choose.
        where = slice(None) if rows is None else rows
        known, best = self.broken[where], self.values[where]
        worse = torch.where(broken == known, values > best, broken & ~known)
        self.volumes[where] = choose(worse, volumes, self.volumes[where])
        self.values[where] = torch.where(worse, values, best)
        self.broken[where] = known | worse & broken
