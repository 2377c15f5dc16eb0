"""A classifier that is watched while attacked: losses, iterations and zero gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from benchharness.attacks.core.draws import undisturbed
from benchharness.attacks.core.objectives import narrowed
from benchharness.errors import CellError

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.networks.classifier import Classifier


class Observed(nn.Module):
    """The classifier that an attack gets; it behaves as the classifier does.

    It notes the passes over the whole batch that need a gradient: the loss at each, their number,
    and whether a volume's first gradient was exactly zero. An attack that works on parts of the
    batch reports its own findings.

    Args:
        classifier: In evaluation mode, frozen. The part of a cascade gets one that the cascade
            observes already.
        labels: (B,), int64.
        narrow: Whether passes that need a gradient are in bfloat16. All others are in float32,
            since they decide.
    """

    def __init__(
        self, classifier: Classifier | Observed, labels: Tensor, *, narrow: bool = False
    ) -> None:
        super().__init__()
        self.narrow = narrow
        # torchattacks reads the device from the first parameter, and some networks have none.
        self.anchor = nn.Parameter(torch.empty(0, device=classifier.device), requires_grad=False)
        self.classifier = classifier
        self.labels = labels
        self.losses: list[Tensor] = []
        self.gradients = 0
        self.zero_gradient: Tensor | None = None
        # torchattacks calls train() after attacking a model that it found in training mode.
        self.eval()

    @property
    def device(self) -> torch.device:
        """The device that volumes must be on."""
        return self.classifier.device

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return self.classifier.num_classes

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits (B, K) of volumes (B, C, D, H, W) in [0, 1].

        Raises:
            CellError: When the logits do not depend on the volumes, so that no gradient exists.
        """
        wanted = volumes.requires_grad and torch.is_grad_enabled()
        whole = wanted and len(volumes) == len(self.labels)
        if whole:
            volumes.register_hook(self._keep_gradient)  # type: ignore[no-untyped-call]
        with narrowed(self.device, narrow=self.narrow and wanted):
            logits = undisturbed(self.classifier, volumes)
        if self.narrow:
            logits = logits.float()
        if wanted and not logits.requires_grad:
            raise CellError(
                "no gradient reaches the volumes: the network cuts the graph (detach, no_grad or "
                "NumPy in forward); only a black-box attack can judge it"
            )
        if whole:
            self.losses.append(
                F.cross_entropy(logits.detach().float(), self.labels, reduction="none")
            )
        return logits

    def findings(self, logits: Tensor, samples: int = 1) -> dict[str, Tensor]:
        """What the passes showed, each (B,); empty when none needed a gradient.

        Args:
            logits: (B, K), of the adversarial volumes; their loss ends the series.
            samples: Passes per gradient.
        """
        if self.zero_gradient is None:
            return {}
        end = F.cross_entropy(logits, self.labels, reduction="none")
        return {
            "zero_gradient": self.zero_gradient.float(),
            "iterations": torch.full_like(end, self.gradients),
            **progress(ended(self.losses, end, samples)),
        }

    def _keep_gradient(self, gradient: Tensor) -> None:
        self.gradients += 1
        if self.zero_gradient is None:
            self.zero_gradient = zero_gradient(gradient)


def zero_gradient(gradient: Tensor) -> Tensor:
    """Whether a volume's gradient (B, C, D, H, W) is exactly zero, bool (B,)."""
    return (gradient == 0).flatten(1).all(1)


def ended(losses: list[Tensor], end: Tensor, samples: int) -> list[Tensor]:
    """The loss (B,) at each iterate and at the end.

    Args:
        losses: Of every pass that needed a gradient.
        end: Of one pass of the result.
        samples: Passes per gradient. Several are averaged; the end, known from a single pass, is
            then left out, since a lucky draw there would look like progress.
    """
    if samples == 1:
        return [*losses, end]
    return [
        torch.stack(losses[first : first + samples]).mean(0)
        for first in range(0, len(losses), samples)
    ]


def progress(values: list[Tensor]) -> dict[str, Tensor]:
    """Summarise what the iterations gained.

    Args:
        values: The objective (B,) at each iterate; the last is where the attack ended.

    Returns:
        The best value so far at the start (`objective_start`), before the last tenth of the
        iterations (`objective_late`) and at the end (`objective_end`).
    """
    best = torch.stack(values).cummax(0).values
    steps = len(values) - 1
    late = steps - max(1, steps // 10)
    return {
        "objective_start": best[0],
        "objective_late": best[late],
        "objective_end": best[-1],
    }
