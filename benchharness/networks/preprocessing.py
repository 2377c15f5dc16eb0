"""What happens to a [0, 1] volume before the network sees it.

Perturbations act before any preprocessing, so ε means the same for every model and dataset.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from torch.nn import functional as F

from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What happens between a [0, 1] volume and the network: resize, scale, normalise."""

    size: tuple[int, int, int] | None = None
    """Grid (D, H, W) to resize to, trilinearly; None keeps the volume's."""
    scale: float = 1.0
    """Factor on the intensities; the official protocol for shape datasets evaluates with 0.5."""
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
        """The settings that change anything, as they enter a cell's identity."""
        nothing = asdict(Preprocessing())
        return pairs({k: v for k, v in asdict(self).items() if v != nothing[k]})

    @classmethod
    def from_pairs(cls, settings: Pairs) -> Preprocessing:
        """The preprocessing whose `to_pairs` these settings are."""
        return cls(**dict(settings))  # type: ignore[arg-type]

    @classmethod
    def checked(cls, settings: Mapping[str, object]) -> Preprocessing:
        """Build from what a user wrote in a config.

        Raises:
            BenchError: If a setting is unknown or its value of the wrong kind.
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
