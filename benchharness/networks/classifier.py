"""A network with its preprocessing: [0, 1] volumes in, logits out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from benchharness.errors import CellError
from benchharness.networks.acceleration import accelerated
from benchharness.networks.batches import as_float, in_batches
from benchharness.networks.preprocessing import Preprocessing
from benchharness.outside.containment import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor


class Classifier(nn.Module):
    """A network and its preprocessing on one device.

    Args:
        network: Module from (B, C, D, H, W) float32 to logits (B, K).
        preprocessing: Applied inside `forward`, so that gradients flow through it.
        num_classes: K; the network's output is checked against it.
        device: The network is moved there.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing | None = None,
        *,
        num_classes: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.network = network.to(device)
        self.preprocessing = preprocessing or Preprocessing()
        self.num_classes = num_classes
        self.device = torch.device(device)

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits (B, K) of volumes (B, C, D, H, W) in [0, 1].

        Raises:
            CellError: If the network's output is not a tensor of this shape.
        """
        logits: Tensor = self.network(self.preprocessing(volumes))
        if not isinstance(logits, torch.Tensor):
            raise CellError(
                f"the network returned {type(logits).__name__}; expected one tensor of logits"
            )
        if logits.shape != (len(volumes), self.num_classes):
            raise CellError(
                f"the network returned shape {tuple(logits.shape)} for {len(volumes)} volumes of a "
                f"task with {self.num_classes} classes; expected {(len(volumes), self.num_classes)}"
            )
        return logits

    def for_evaluation(self, *, compiled: bool = False) -> Classifier:
        """An equivalent classifier that evaluates faster; see `acceleration`.

        Args:
            compiled: Whether to run through `torch.compile`.

        Returns:
            A new classifier that cannot be trained; this one if its network cannot be made faster.
        """
        with contained():
            network = accelerated(self.network, self.device, compiled=compiled)
        if network is self.network:
            return self
        return Classifier(
            network, self.preprocessing, num_classes=self.num_classes, device=self.device
        )

    @contextmanager
    def frozen(self) -> Iterator[Classifier]:
        """Evaluation mode with frozen parameters; on exit every module is as it was before."""
        modes = {module: module.training for module in self.modules()}
        gradients = {p: p.requires_grad for p in self.parameters()}
        try:
            self.eval()
            self.requires_grad_(requires_grad=False)
            yield self
        finally:
            for module, training in modes.items():
                module.training = training
            for parameter, wanted in gradients.items():
                parameter.requires_grad_(wanted)

    def predict(
        self,
        volumes: Tensor | NDArray[np.unsignedinteger],
        batch_size: int,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Logits of many volumes, in batches, in evaluation mode and without gradients.

        Args:
            volumes: (N, C, D, H, W), float32 in [0, 1], uint8 or uint16.
            batch_size: Volumes per forward pass; halved when memory runs out.
            progress: Called with the number of volumes done since the last call.

        Returns:
            Logits, float32 (N, K).

        Raises:
            CellError: If a logit is NaN or infinite, or a single volume does not fit in memory.
        """

        def logits(batch: slice) -> NDArray[np.float32]:
            inputs = as_float(volumes[batch], self.device)
            return self(inputs).float().cpu().numpy()  # type: ignore[no-any-return]

        with contained(), self.frozen(), torch.no_grad():
            parts = list(in_batches(logits, len(volumes), batch_size, progress=progress))
        result = np.concatenate(parts)
        unusable = int((~np.isfinite(result)).any(axis=1).sum())
        if unusable:
            raise CellError(f"the logits of {unusable} of {len(result)} volumes are not finite")
        return result
