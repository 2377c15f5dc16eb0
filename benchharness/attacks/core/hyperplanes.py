"""Decision boundaries as hyperplanes: how to linearise a network, and the shortest step to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.objectives import Evaluation, evaluate, is_broken, narrow, towards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from benchharness.attacks.core.norms import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """The linearised boundaries to other classes."""

    differences: Tensor
    """(B, J): z_j − z_y, negative while the volume is classified correctly."""
    gradients: Tensor
    """(B, J, C, D, H, W): of the differences."""

    def nearest(self, norm: Budget) -> tuple[Tensor, Tensor]:
        """Difference (B,) and gradient (B, C, D, H, W) of the nearest boundary."""
        sizes = _dual(self.gradients.flatten(2), norm)
        distances = self.differences.abs() / sizes.clamp_min(1e-30)
        chosen = torch.where(sizes > 0, distances, torch.inf).argmin(1)
        rows = torch.arange(len(chosen), device=chosen.device)
        return self.differences[rows, chosen], self.gradients[rows, chosen]


def _dual(flat: Tensor, norm: Budget) -> Tensor:
    """Rise of a linear function over a step of length 1, (B, J), for gradients (B, J, V)."""
    order = 1 if norm is LINF else 2
    lengths: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=2, dtype=torch.float64)
    return lengths if norm is LINF else lengths * math.sqrt(flat.shape[2])


def boundaries(
    classifier: nn.Module, points: Tensor, labels: Tensor, targets: Tensor | None
) -> tuple[Boundaries, Tensor]:
    """Linearise the boundaries to all other classes, or to one target for each volume.

    Returns:
        The boundaries, and whether each point is misclassified, bool (B,).
    """
    looks = list(_looks(classifier, points, labels, targets))
    differences = torch.stack([look.values for look in looks], dim=1)
    gradients = torch.stack([look.gradient for look in looks], dim=1)
    return Boundaries(differences=differences, gradients=gradients), looks[0].broken


def _looks(
    classifier: nn.Module, points: Tensor, labels: Tensor, targets: Tensor | None
) -> Iterator[Evaluation]:
    if targets is not None:
        yield evaluate(classifier, points, labels, towards(targets))
        return
    point = points.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier(point).float()
        broken = logits.detach().argmax(1) != labels
        if narrow(classifier):
            broken = is_broken(classifier, points, labels)
        num_classes = logits.shape[1]
        for shift in range(1, num_classes):
            values = towards((labels + shift) % num_classes)(logits, labels)
            (gradient,) = torch.autograd.grad(
                values.sum(), point, retain_graph=shift < num_classes - 1
            )
            yield Evaluation(
                values=values.detach(), gradient=gradient, decided=broken, decide=lambda: broken
            )


def to_hyperplane(points: Tensor, gradient: Tensor, rise: Tensor, norm: Budget) -> Tensor:
    """The smallest step within [0, 1] that raises a linear function by `rise`.

    Voxel i moves by λ·s_i, with s_i = 1 (L∞) or |g_i| (L2) and one λ for all, until it reaches its
    bound u_i. The rise Σ|g_i|·min(λ·s_i, u_i) is concave and piecewise linear in λ, so Newton's
    method approaches the λ it looks for from below and ends on the right piece. Where [0, 1] does
    not admit the rise, every voxel goes to its bound. This is the projection of Croce & Hein (ICML
    2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    section 3.1), who find λ by sorting the bounds.

    Args:
        points: (B, C, D, H, W) in [0, 1].
        gradient: Of the linear function, the same shape.
        rise: (B,); a negative one is a fall.
        norm: The norm in which the step is smallest.

    Returns:
        The step, (B, C, D, H, W).
    """
    flat = gradient.flatten(1).double() * rise.sign().double()[:, None]
    place = points.flatten(1).double()
    slope = flat.abs()
    room = torch.where(flat > 0, 1 - place, place)
    speed = torch.ones_like(slope) if norm is LINF else slope
    # A voxel with no slope adds nothing to the rise; it is at its bound from the beginning.
    reach = torch.where(slope > 0, room / speed.clamp_min(1e-300), 0.0)
    scale = _scale(slope * speed, reach, rise.abs().double())
    step = torch.minimum(scale[:, None], reach).mul_(speed).mul_(flat.sign())
    return step.to(points.dtype).view_as(points)


def _scale(rate: Tensor, reach: Tensor, rise: Tensor) -> Tensor:
    """The smallest λ (B,) at which Σ rate·min(λ, reach) equals a rise; infinite where none does.

    Args:
        rate: (B, V), not negative.
        reach: (B, V), not negative.
        rise: (B,).
    """
    scale = torch.zeros_like(rise)
    most = rate * reach
    while True:
        free = reach > scale[:, None]
        fixed = most.masked_fill(free, 0).sum(1)
        climb = rate.masked_fill(~free, 0).sum(1)
        missing = (rise - fixed).clamp_min(0)
        wanted = torch.where(climb > 0, missing / climb, torch.where(missing > 0, torch.inf, scale))
        # λ only grows: where rounding would make it fall, this is the answer. A gradient of NaN
        # gives a λ of NaN, which is not larger either.
        if not (wanted > scale).any():
            return scale
        scale = torch.maximum(scale, wanted)
