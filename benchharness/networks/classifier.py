"""A network with its preprocessing: [0, 1] volumes in, logits out.

Perturbations act on [0, 1] volumes, before any preprocessing, so that ε means the same for every
model and every dataset.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError, CellError, unknown_name
from benchharness.networks.acceleration import accelerated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What happens between a [0, 1] volume and the network: resize, scale, normalise."""

    size: tuple[int, int, int] | None = None
    """Grid (D, H, W) to resize to, trilinearly; None keeps the volume's own."""
    scale: float = 1.0
    """Factor on the intensities; the official protocol for shape sets evaluates with 0.5."""
    mean: float = 0.0
    """Subtracted after scaling."""
    std: float = 1.0
    """Divided by, last."""

    def __call__(self, volumes: Tensor) -> Tensor:
        """Map volumes (B, C, D, H, W) in [0, 1] to what the network was trained on."""
        if self.size is not None and tuple(volumes.shape[2:]) != self.size:
            volumes = F.interpolate(volumes, self.size, mode="trilinear", align_corners=False)
        if self.scale != 1.0:
            volumes = volumes * self.scale
        if self.mean != 0.0 or self.std != 1.0:
            volumes = (volumes - self.mean) / self.std
        return volumes

    def to_pairs(self) -> Pairs:
        """The settings that differ from doing nothing, as they enter a cell's identity."""
        nothing = asdict(Preprocessing())
        return pairs({k: v for k, v in asdict(self).items() if v != nothing[k]})

    @classmethod
    def from_pairs(cls, settings: Pairs) -> Preprocessing:
        """Rebuild from `to_pairs`."""
        return cls(**dict(settings))  # type: ignore[arg-type]

    @classmethod
    def checked(cls, settings: Mapping[str, object]) -> Preprocessing:
        """Build from what a user wrote.

        Raises:
            BenchError: For an unknown setting or a value of the wrong kind.
        """
        known = asdict(cls())
        for name, value in settings.items():
            if name not in known:
                raise unknown_name("preprocessing", name, known)
            if name == "size":
                right = isinstance(value, tuple) and len(value) == 3
                right = right and all(type(n) is int and n > 0 for n in value)  # type: ignore[attr-defined]
            else:
                right = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
            if not right or (name == "std" and value == 0):
                raise BenchError(
                    f"preprocessing {name!r} cannot be {value!r}. Write size = [28, 28, 28], and "
                    "a number for scale, mean and std (std not 0)."
                )
        # 2 and 2.0 are one setting and must give one identity.
        return cls(**{k: v if k == "size" else float(v) for k, v in settings.items()})  # type: ignore[arg-type]


class Classifier(nn.Module):
    """A network and its preprocessing on one device.

    Args:
        network: Module from (B, C, D, H, W) float32 to logits (B, K).
        preprocessing: Applied inside `forward`, so that gradients flow through it.
        num_classes: K; the network's output is checked against it.
        device: Where the network is put.
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
            CellError: When the network's output has another shape.
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
        """The same classifier as it is best run in evaluation; see `acceleration`.

        Args:
            compiled: Whether to run through `torch.compile`.
        """
        network = accelerated(self.network, self.device, compiled=compiled)
        if network is self.network:
            return self
        return Classifier(
            network, self.preprocessing, num_classes=self.num_classes, device=self.device
        )

    @contextmanager
    def frozen(self) -> Iterator[Classifier]:
        """Evaluation mode with parameters frozen; every module is left as it was found."""
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
            batch_size: Volumes a forward pass; halved when memory runs out.
            progress: Called with the number of volumes done since the last call.

        Returns:
            Logits, float32 (N, K).

        Raises:
            CellError: When a logit is NaN or infinite.
        """

        def logits(batch: slice) -> NDArray[np.float32]:
            inputs = as_float(volumes[batch], self.device)
            return self(inputs).float().cpu().numpy()  # type: ignore[no-any-return]

        with self.frozen(), torch.no_grad():
            parts = list(in_batches(logits, len(volumes), batch_size, progress=progress))
        result = np.concatenate(parts)
        unusable = int((~np.isfinite(result)).any(axis=1).sum())
        if unusable:
            raise CellError(f"the logits of {unusable} of {len(result)} volumes are not finite")
        return result


def as_float(volumes: Tensor | NDArray[np.unsignedinteger], device: torch.device | str) -> Tensor:
    """Volumes as float32 in [0, 1] on a device; integers are divided by their range."""
    tensor = torch.as_tensor(volumes)
    if tensor.dtype == torch.uint16:
        return tensor.to(device).float() / 65535
    if tensor.dtype == torch.uint8:
        return tensor.to(device).float() / 255
    return tensor.to(device)


def in_batches(
    function: Callable[[slice], T],
    count: int,
    batch_size: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Call `function` on consecutive slices of range(count); out of memory halves the batch.

    Once halved, the batch stays small: the next would not fit either.

    Raises:
        CellError: When a single item does not fit.
    """
    start = 0
    while start < count:
        stop = min(start + batch_size, count)
        try:
            result = function(slice(start, stop))
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if batch_size == 1:
                raise CellError("out of memory with a batch of one volume") from error
            batch_size = max(1, batch_size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield result
        if progress is not None:
            progress(stop - start)
        start = stop


def _out_of_memory(error: Exception) -> bool:
    # The CPU allocator raises a bare RuntimeError; its text is all there is to know it by.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
