"""The control: noise that knows nothing of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.attacks.core.base import Attack, Batch, Cost

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.base import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSign(Attack):
    """Random signs at full budget; what an attack cannot beat it has not attacked."""

    name: ClassVar[str] = "noise_sign"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "own implementation"
    summary: ClassVar[str] = "Adds ε or −ε to every voxel by the toss of a coin: the control."
    access: ClassVar[Access] = "none"
    iterative: ClassVar[bool] = False
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """None."""
        return Cost(forward=0, backward=0)

    def perturb(self, batch: Batch) -> Tensor:
        """X ± ε."""
        return batch.volumes + batch.severity * batch.draws.signs(batch.volumes)
