"""A network between its preprocessing and its outputs: [0, 1] volumes in, logits out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from benchharness.errors import CellError
from benchharness.networks.acceleration import accelerated
from benchharness.networks.adapters import Outputs, find
from benchharness.networks.batches import as_float, in_batches
from benchharness.networks.preprocessing import Preprocessing
from benchharness.outside.containment import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.store.cells import ModelKey


class Classifier(nn.Module):
    """A network, its preprocessing and its outputs on one device.

    Args:
        network: Module from (B, C, D, H, W) float32 to logits (B, K), or to what `outputs` takes
            them from.
        preprocessing: Applied inside `forward`, so that gradients flow through it.
        outputs: How logits are taken from what the network returns.
        num_classes: K; the network's output is checked against it.
        device: The network is moved there.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing | None = None,
        outputs: Outputs | None = None,
        *,
        num_classes: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.network = network.to(device)
        self.preprocessing = preprocessing or Preprocessing()
        self.outputs = outputs or Outputs()
        self.num_classes = num_classes
        self.device = torch.device(device)

    @classmethod
    def of(
        cls, model: ModelKey, network: nn.Module, *, num_classes: int, device: torch.device | str
    ) -> Classifier:
        """A network with the preprocessing and the outputs of its key."""
        preprocessing = Preprocessing.from_pairs(model.preprocessing)
        outputs = Outputs.from_pairs(model.outputs)
        return cls(network, preprocessing, outputs, num_classes=num_classes, device=device)

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits (B, K) of volumes (B, C, D, H, W) in [0, 1].

        Raises:
            CellError: If the network's output is not what its `outputs` expect.
        """
        return self.outputs(self.returned(volumes), len(volumes), self.num_classes)

    def returned(self, volumes: Tensor) -> object:
        """What the network itself returns for volumes (B, C, D, H, W) in [0, 1]."""
        return self.network(self.preprocessing(volumes))

    def training_logits(self, volumes: Tensor, *, scaled: bool = True) -> Tensor:
        """Logits (B, K) to learn from.

        In training some networks return more than in evaluation, or logits for what are
        probabilities later; they are found anew then.

        Args:
            volumes: (B, C, D, H, W) in [0, 1].
            scaled: Whether the preprocessing's fixed factor on intensities applies.

        Raises:
            CellError: If nothing in the network's output could be logits.
        """
        unscaled = replace(self.preprocessing, scale=1.0)
        returned = self.network((self.preprocessing if scaled else unscaled)(volumes))
        try:
            return self.outputs(returned, len(volumes), self.num_classes)
        except CellError:
            found = find(returned, len(volumes), self.num_classes)
            if found is None:
                raise
        return found.outputs(returned, len(volumes), self.num_classes)

    def for_evaluation(self, *, compiled: bool = False) -> Classifier:
        """An equivalent classifier that evaluates faster; see `acceleration`.

        Args:
            compiled: Whether to run through `torch.compile`.

        Returns:
            A new classifier that cannot be trained; this one if its network cannot be made faster.
        """
        with contained():
            network = accelerated(
                self.network, self.device, compiled=compiled, take=self.outputs.tensor
            )
        if network is self.network:
            return self
        return Classifier(
            network,
            self.preprocessing,
            replace(self.outputs, take=()) if compiled else self.outputs,
            num_classes=self.num_classes,
            device=self.device,
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
