"""Transfer: volumes made on one network and judged by another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.mifgsm import MIFGSM

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.base import Access
    from benchharness.canonical import Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Attack):
    """MI-FGSM on a source network, without a single pass through the network it is judged by.

    An attacker without access to a model can train another one. Momentum makes the volumes found
    there more likely to fool another network (Dong et al., section 4.3).
    """

    name: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "Dong et al., CVPR 2018, arXiv 1710.06081; own implementation"
    summary: ClassVar[str] = "Volumes made on every other model of the run by MI-FGSM, judged here."
    access: ClassVar[Access] = "another network"
    ascends: ClassVar[bool] = False
    iterative: ClassVar[bool] = False
    traced: ClassVar[bool] = False
    needs_source: ClassVar[bool] = True

    steps: int = parameter(10, low=1)
    """Gradient steps on the source."""
    decay: float = parameter(1.0, low=0.0)
    """Momentum µ of the source's gradients."""

    @property
    def _inner(self) -> MIFGSM:
        return MIFGSM(steps=self.steps, decay=self.decay)

    def resolved(self, num_classes: int, severity: float) -> Pairs:
        """Those of MI-FGSM on the source, with the length of a step."""
        return self._inner.resolved(num_classes, severity)

    def cost(self, num_classes: int) -> Cost:
        """Passes through the source, whose price may differ from the judged network's."""
        return self._inner.cost(num_classes)

    def perturb(self, batch: Batch) -> Tensor:
        """Attack the source; without one, attack the judged network itself."""
        source = batch.classifier if batch.source is None else batch.source
        return self._inner.perturb(replace(batch, classifier=source))
