"""Norms: the size of a perturbation in the unit of its severity, and the projection to a ball.

L∞ is in intensity units. L2 is the root mean square per voxel, ‖δ‖₂ / √(C·D·H·W), so that one grid
of severities means the same for volumes of any size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Projection = Callable[[Tensor], Tensor]

TOLERANCE = 1e-6
"""What float32 rounding may add to a norm: a few units in the last place for intensities near 1."""


class Norm(ABC):
    """A measure of perturbations (B, C, D, H, W)."""

    counts: ClassVar[bool] = False
    """Whether a severity is a count of voxels or slices rather than an intensity."""

    @abstractmethod
    def check(self, severity: float) -> None:
        """Raise BenchError when `severity` is not a budget of this norm."""

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation, float64 (B,)."""

    @abstractmethod
    def project(self, volumes: Tensor, clean: Tensor, severity: float) -> Tensor:
        """Move `volumes` into the ball around `clean` and into [0, 1]."""

    def projection(self, clean: Tensor, severity: float) -> Projection:
        """The projection as a function of the volumes, with what all calls share done once."""
        return lambda volumes: self.project(volumes, clean, severity)


class Budget(Norm):
    """A norm whose severity is a budget ε in [0, 1] of intensity."""

    def check(self, severity: float) -> None:
        """Accept 0 to 1."""
        if not (isinstance(severity, int | float) and 0 <= severity <= 1):
            raise BenchError(
                f"a budget is an intensity from 0 to 1, received {severity}. For a budget of "
                "8 grey levels of 255 type 8/255."
            )

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of norm 1 of steepest ascent; zero where the gradient is zero."""

    @abstractmethod
    def spread(self, noise: Tensor) -> Tensor:
        """Scale each of (B, C, D, H, W) to norm 1; zero where it is all zero."""


class Linf(Budget):
    """The largest change of any voxel."""

    def size(self, delta: Tensor) -> Tensor:
        """Return `max |δ|`."""
        return delta.abs().flatten(1).amax(1).double()

    def project(self, volumes: Tensor, clean: Tensor, severity: float) -> Tensor:
        """Clip every voxel to its interval; this is the Euclidean projection, range included."""
        return self.projection(clean, severity)(volumes)

    def projection(self, clean: Tensor, severity: float) -> Projection:
        """As `project`, with the intervals computed once."""
        lowest, highest = (clean - severity).clamp_(0, 1), (clean + severity).clamp_(0, 1)
        return lambda volumes: torch.clamp(volumes, lowest, highest)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return `sign(g)`."""
        return gradient.sign()

    def spread(self, noise: Tensor) -> Tensor:
        """Divide by the largest magnitude."""
        return noise / _positive(self.size(noise), noise)


class L2(Budget):
    """The root mean square of the change per voxel."""

    def size(self, delta: Tensor) -> Tensor:
        """Return `√mean(δ²)`."""
        flat = delta.flatten(1)
        lengths: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
        return lengths / math.sqrt(flat.shape[1])

    def project(self, volumes: Tensor, clean: Tensor, severity: float) -> Tensor:
        """Shorten a δ that is too long to the sphere, then clip to [0, 1].

        Clipping moves every voxel towards its clean value, so the result stays inside the ball.
        """
        delta = volumes - clean
        size = self.size(delta)
        factor = torch.where(size > severity, severity / size.clamp_min(1e-300), 1.0)
        return delta.mul_(_as_factor(factor, delta)).add_(clean).clamp_(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return `g / rms(g)`."""
        return self.spread(gradient)

    def spread(self, noise: Tensor) -> Tensor:
        """Divide by the root mean square."""
        # Scaled first: a root mean square as small as 1e-40 is no accurate divisor in float32.
        noise = LINF.spread(noise)
        return noise / _positive(self.size(noise), noise)


class L0(Norm):
    """The number of voxels that change; one counts once, however many of its channels change."""

    counts: ClassVar[bool] = True

    def check(self, severity: float) -> None:
        """Accept whole numbers from 0."""
        check_count(severity)

    def size(self, delta: Tensor) -> Tensor:
        """The number of places (d, h, w) where any channel differs from zero."""
        return changed(delta).flatten(1).sum(1).double()

    def project(self, volumes: Tensor, clean: Tensor, severity: float) -> Tensor:
        """Keep the voxels that change most, and clip to [0, 1]."""
        volumes = volumes.clamp(0, 1)
        change = (volumes - clean).abs().amax(1).flatten(1)
        kept = min(int(severity), change.shape[1])
        mask = torch.zeros_like(change, dtype=torch.bool)
        mask.scatter_(1, change.topk(kept, dim=1).indices, value=True)
        return torch.where(mask.view(len(clean), 1, *clean.shape[2:]), volumes, clean)


class Extent(Norm):
    """The extent of the changed voxels along the axes.

    A region is not a ball: only the attack can choose where to cut it. The projection therefore
    only clips to [0, 1], and an attack that reaches too far fails verification.
    """

    counts: ClassVar[bool] = True

    def check(self, severity: float) -> None:
        """Accept whole numbers from 0."""
        check_count(severity)

    def project(self, volumes: Tensor, clean: Tensor, severity: float) -> Tensor:  # noqa: ARG002
        """Clip to [0, 1]."""
        return volumes.clamp(0, 1)


class SlabExtent(Extent):
    """Slices from the first changed one to the last, along the axis where they are fewest."""

    def size(self, delta: Tensor) -> Tensor:
        """The smallest of the three extents."""
        return _extents(delta).amin(1)


class CubeExtent(Extent):
    """Side of the smallest cube that holds every changed voxel."""

    def size(self, delta: Tensor) -> Tensor:
        """The largest of the three extents."""
        return _extents(delta).amax(1)


def _extents(delta: Tensor) -> Tensor:
    """Slices from the first changed one to the last along each axis, float64 (B, 3); 0 if none."""
    where = changed(delta)
    extents = []
    for axis in (1, 2, 3):
        others = [other for other in (1, 2, 3) if other != axis]
        line = where.any(others[1]).any(others[0])
        place = torch.arange(line.shape[1], device=line.device)
        first = torch.where(line, place, line.shape[1]).amin(1)
        last = torch.where(line, place, -1).amax(1)
        extents.append((last - first + 1).clamp_min(0))
    return torch.stack(extents, dim=1).double()


def changed(delta: Tensor) -> Tensor:
    """Where any channel differs from zero, bool (B, D, H, W)."""
    return (delta != 0).any(1)


def check_count(severity: float) -> None:
    """Raise BenchError unless `severity` is a whole number from 0."""
    finite = isinstance(severity, int | float) and math.isfinite(severity)
    if not (finite and severity >= 0 and severity == int(severity)):
        raise BenchError(f"a sparse attack counts in whole numbers from 0, received {severity}.")


def _positive(sizes: Tensor, like: Tensor) -> Tensor:
    """Sizes (B,) as divisors: 1 where a size is zero, shaped to broadcast over `like`."""
    return _as_factor(torch.where(sizes > 0, sizes, 1.0), like)


def _as_factor(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


LINF, L2_RMS, L0_COUNT = Linf(), L2(), L0()
BUDGETS: dict[str, Budget] = {"linf": LINF, "l2": L2_RMS}
"""The norms whose severity is an intensity, by name."""
NORMS: dict[str, Norm] = {
    **BUDGETS,
    "l0": L0_COUNT,
    "slab": SlabExtent(),
    "cube": CubeExtent(),
}
"""Every norm, by the name that attacks and cells use."""


def norm_named(name: str) -> Norm:
    """Look up a norm by its name.

    Raises:
        BenchError: When there is no such norm.
    """
    if name not in NORMS:
        raise unknown_name("norm", name, NORMS)
    return NORMS[name]
