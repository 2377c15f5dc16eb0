"""The fast gradient sign method, through torchattacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torchattacks

from benchharness.attacks.core import bridge
from benchharness.attacks.core.base import Attack, Batch, Cost

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FGSM(Attack):
    """Fast gradient sign method: one step of length ε from the clean volume."""

    name: ClassVar[str] = "fgsm"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = (
        "Goodfellow, Shlens & Szegedy, ICLR 2015, arXiv 1412.6572; through torchattacks"
    )
    summary: ClassVar[str] = "One step of length ε along the sign of the gradient."
    ascends: ClassVar[bool] = False
    iterative: ClassVar[bool] = False

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """One pass each way."""
        return Cost(forward=1, backward=1)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """One."""
        return 1

    def perturb(self, batch: Batch) -> Tensor:
        """X + ε·sign(∇L)."""
        return bridge.run(torchattacks.FGSM, batch, eps=batch.severity)
