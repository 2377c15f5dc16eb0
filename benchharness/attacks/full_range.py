"""The control at ε = 1: with the whole range to move in, an attack that works breaks everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import climb
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import LINF

if TYPE_CHECKING:
    from torch import Tensor

_ROUND = 10
"""Steps between two looks at which volumes still stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRange(Attack):
    """PGD that ends at a volume once it is broken; only whether it breaks is of interest.

    A network that keeps its accuracy where the attack may paint any volume hides its gradient. The
    planner adds one such cell to every checkpoint that is attacked by its gradient, at ε = 1 and
    on `VOLUMES` volumes; no table shows it, and `matrix_checks` reads it.
    """

    name: ClassVar[str] = "full_range"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = (
        "Madry et al., ICLR 2018, arXiv 1706.06083, as a test of masking after Carlini et al., "
        "arXiv 1902.06705; own implementation"
    )
    summary: ClassVar[str] = "PGD on what still stands, up to 100 steps: the control at ε = 1."
    auc_undefined: ClassVar[str] = "a control: it ends at a volume once it is broken"
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    steps: int = parameter(100, low=1)
    """Steps at most, of length 2.5·ε / steps, from the clean volume."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every step, and a look after every tenth."""
        return Cost(forward=self.steps + -(-self.steps // _ROUND), backward=self.steps)

    def perturb(self, batch: Batch) -> Tensor:
        """Climb on the cross-entropy, volume by volume until it breaks."""
        point = batch.volumes.clone()
        standing = torch.arange(len(point), device=point.device)
        for done in range(0, self.steps, _ROUND):
            if len(standing) == 0:
                break
            reached = climb(
                replace(
                    batch,
                    volumes=batch.volumes[standing],
                    labels=batch.labels[standing],
                    clean=batch.clean[standing],
                ),
                point[standing],
                LINF,
                step=2.5 * batch.severity / self.steps,
                steps=min(_ROUND, self.steps - done),
            )
            point[standing] = reached
            with torch.no_grad():
                answer = batch.classifier(reached).argmax(1)
            standing = standing[answer == batch.labels[standing]]
        return point


VOLUMES = 16
"""Volumes of the control, a stratified subset."""
EPSILON = 1.0
"""Its budget: the whole range."""
