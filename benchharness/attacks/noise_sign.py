"""Random signs: the control that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.attacks.core.base import Attack, Batch, Cost

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.base import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSign(Attack):
    """Random signs at full budget; an attack that does no better has found nothing."""

    name: ClassVar[str] = "noise_sign"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "own implementation"
    summary: ClassVar[str] = "Adds ε or −ε to every voxel at random: the control."
    access: ClassVar[Access] = "none"
    iterative: ClassVar[bool] = False
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """None."""
        return Cost(forward=0, backward=0)

    def perturb(self, batch: Batch) -> Tensor:
        """Return `x ± ε`."""
        return batch.volumes + batch.severity * batch.draws.signs(batch.volumes)
