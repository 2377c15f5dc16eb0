"""The control at ε = 1: an attack that may paint any volume must break every one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import climb, loss_gradient
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.objectives import margin

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRange(Attack):
    """PGD that stops at a volume once it breaks, since only that it breaks is of interest.

    A network that keeps its accuracy although the attack may paint any volume hides its gradient.
    It also reports by how much the margin rose in the first step (`gain`), and by how much in a
    step of the same length along random signs (`gain_by_noise`): a gradient that leads no further
    than chance is masked as well. The planner adds one such cell to every checkpoint that is
    attacked through its gradient, at ε = 1 and on `VOLUMES` volumes; `matrix_checks` reads it.
    """

    name: ClassVar[str] = "full_range"
    version: ClassVar[int] = 2
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
        """A pass each way for every step, a look at every doubling of them, and two passes more."""
        return Cost(forward=self.steps + self.steps.bit_length() + 2, backward=self.steps)

    def perturb(self, batch: Batch) -> Tensor:
        """Climb on the cross-entropy until the volume breaks."""
        best, point = batch.volumes.clone(), batch.volumes
        rows = torch.arange(len(point), device=point.device)
        done, wanted = 0, 1
        while done < self.steps and len(rows):
            rest = batch.select(rows)
            point = self._climbed(rest, point, wanted)
            with torch.no_grad():
                logits = batch.classifier(point).float()
            if done == 0:
                self._report(batch, logits)
            best[rows] = point
            standing = logits.argmax(1) == rest.labels
            rows, point = rows[standing], point[standing]
            done, wanted = done + wanted, min(done + wanted, self.steps - done - wanted)
        return best

    def _climbed(self, rest: Batch, point: Tensor, steps: int) -> Tensor:
        return climb(
            point,
            steps=steps,
            step=self._length(rest),
            gradient=loss_gradient(rest),
            direction=LINF.steepest,
            project=LINF.projection(rest.volumes, rest.severity),
        )

    def _length(self, batch: Batch) -> float:
        return 2.5 * batch.severity / self.steps

    def _report(self, batch: Batch, first: Tensor) -> None:
        """Compare the first step, which led to these logits, with one along random signs."""
        step = self._length(batch) * batch.draws.signs(batch.volumes)
        with torch.no_grad():
            chance = batch.classifier((batch.volumes + step).clamp(0, 1)).float()
        before, along, by_noise = (
            margin(logits, batch.labels) for logits in (batch.clean.float(), first, chance)
        )
        batch.findings.update(gain=along - before, gain_by_noise=by_noise - before)


VOLUMES = 32
"""Test volumes of a checkpoint's controls, stratified."""
EPSILON = 1.0
"""The budget: the whole range."""
