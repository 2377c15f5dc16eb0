"""The moving average of a network's weights over its steps, judged and kept in their place.

Averages of the iterates vary less than the last one does (Polyak and Juditsky, SIAM J. Control
Optim. 30, 1992), which counts where few val volumes choose between epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn


def average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and buffers; `update_parameters` takes one step.

    Early steps count more than `decay` says, by min(decay, (1 + t) / (10 + t)) after t steps, so
    that the random weights before the first are soon forgotten (TensorFlow's
    ExponentialMovingAverage).

    Args:
        network: Copied, and not changed.
        decay: What the average keeps of itself in a step, in (0, 1).
    """

    def towards(averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        count = int(made.n_averaged)  # not the argument, which a GPU would be waited for
        moved = 1 - min(decay, (1 + count) / (10 + count))
        for mean, new in zip(averaged, current, strict=True):
            if mean.is_floating_point() or mean.is_complex():
                mean.lerp_(new, moved)
            else:  # such as the number of batches that a BatchNorm has seen
                mean.copy_(new)

    with torch.no_grad():
        made = AveragedModel(network, multi_avg_fn=towards, use_buffers=True)
    return made
