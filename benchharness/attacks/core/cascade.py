"""Attacks in turn, each on the volumes that those before it did not break."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from benchharness.attacks.core.draws import Draws
from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.observation import Observed
from benchharness.store.predictions import BROKEN_BY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchharness.attacks.core.base import Attack, Batch


def in_turn(batch: Batch, parts: Sequence[Attack]) -> Tensor:
    """Run L∞ attacks in turn; a volume that no part breaks comes back clean.

    The part that broke a volume is reported as `predictions.BROKEN_BY`.

    Returns:
        (B, C, D, H, W), inside the ball.
    """
    adversarial = batch.volumes.clone()
    broken_by = torch.where(_broken(batch, adversarial), 0, -1)
    zero = torch.zeros_like(broken_by)
    for number, part in enumerate(parts, start=1):
        rows = (broken_by < 0).nonzero()[:, 0]
        if len(rows) == 0:
            break
        inner = _for_part(batch, rows, part)
        with inner.draws.intercepted(guard=False):
            found = part.perturb(inner).detach()
        found = LINF.project(found, inner.volumes, batch.severity)
        fooled = _broken(inner, found)
        adversarial[rows[fooled]] = found[fooled]
        broken_by[rows[fooled]] = number
        if number == 1:
            first = inner.classifier.zero_gradient
            zero[rows] = zero[rows] if first is None else first.long()
    batch.findings.update({BROKEN_BY: broken_by, "zero_gradient": zero})
    return adversarial


@torch.no_grad()
def _broken(batch: Batch, volumes: Tensor) -> Tensor:
    return batch.classifier(volumes).argmax(1) != batch.labels  # type: ignore[no-any-return]


def _for_part(batch: Batch, rows: Tensor, part: Attack) -> Batch:
    """The volumes that are still correct, with the draws that the part would make by itself."""
    rest = batch.select(rows)
    draws = Draws(rest.draws.ids, part.name, *batch.draws.names[1:], device=batch.draws.device)
    inner = Observed(batch.classifier, rest.labels, narrow=batch.classifier.narrow)
    return replace(rest, classifier=inner, draws=draws)
