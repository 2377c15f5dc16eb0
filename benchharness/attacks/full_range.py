"""The control at ε = 1: an attack that may paint any volume must break every one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import climb, loss_gradient
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import LINF

if TYPE_CHECKING:
    from torch import Tensor

_ROUND = 10
"""Steps between two looks at which volumes are still classified correctly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRange(Attack):
    """PGD that stops at a volume once it breaks, since only that it breaks is of interest.

    A network that keeps its accuracy although the attack may paint any volume hides its gradient.
    The planner adds one such cell to every checkpoint that is attacked through its gradient, at
    ε = 1 and on `VOLUMES` volumes. No table shows it; `matrix_checks` reads it.
    """

    name: ClassVar[str] = "full_range"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = (
        "Madry et al., ICLR 2018, arXiv 1706.06083, as a test of masking after Carlini et al., "
        "arXiv 1902.06705; own implementation"
    )
    summary: ClassVar[str] = "PGD on what is still correct, up to 100 steps: the control at ε = 1."
    auc_undefined: ClassVar[str] = "a control: it ends at a volume once it is broken"
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    steps: int = parameter(100, low=1)
    """Most steps, each of length 2.5·ε / steps, from the clean volume."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every step, and a forward pass after every tenth."""
        return Cost(forward=self.steps + -(-self.steps // _ROUND), backward=self.steps)

    def perturb(self, batch: Batch) -> Tensor:
        """Climb on the cross-entropy until the volume breaks."""
        point = batch.volumes.clone()
        standing = torch.arange(len(point), device=point.device)
        for done in range(0, self.steps, _ROUND):
            if len(standing) == 0:
                break
            rest = batch.select(standing)
            reached = climb(
                point[standing],
                steps=min(_ROUND, self.steps - done),
                step=2.5 * batch.severity / self.steps,
                gradient=loss_gradient(rest),
                direction=LINF.steepest,
                project=LINF.projection(rest.volumes, batch.severity),
            )
            point[standing] = reached
            with torch.no_grad():
                answer = batch.classifier(reached).argmax(1)
            standing = standing[answer == rest.labels]
        return point


VOLUMES = 16
"""Test volumes of the control, stratified."""
EPSILON = 1.0
"""Its budget: the whole range."""
