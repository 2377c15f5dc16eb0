"""The fast gradient sign method, through torchattacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torchattacks

from benchharness.attacks.core.base import Attack, Batch, Cost

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FGSM(Attack):
    """Fast gradient sign method: one step of length ε from the clean volume.

    torchattacks takes the gradient of the batch's mean loss: a volume's share of it is the gradient
    of its own loss over B, and the sign ignores that scale.
    """

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
        """Return `x + ε·sign(∇L)`."""
        attack = torchattacks.FGSM(batch.classifier, eps=batch.severity)
        adversarial: Tensor = attack(batch.volumes, batch.labels)
        return adversarial
