"""Faults of computed tomography."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.artefacts.base import Artefact, Level

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonLevel(Level):
    """Dose."""

    photons: float
    """Photons counted in a voxel of intensity 1."""


class PoissonNoise(Artefact):
    """Counting noise of a low dose."""

    name = "poisson_noise"
    version = 1
    group = "ct"
    source = "torch.poisson (shot noise as in Hendrycks and Dietterich, ICLR 2019)"
    unit = "photons in a voxel of intensity 1"
    summary = "Few photons were counted: noise grows with the root of the intensity."
    plausible = frozenset({"ct", "phantom", "electron microscopy"})
    levels: ClassVar[tuple[PoissonLevel, ...]] = (
        PoissonLevel(photons=250.0),
        PoissonLevel(photons=80.0),
        PoissonLevel(photons=40.0),
        PoissonLevel(photons=20.0),
        PoissonLevel(photons=11.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Count photons in every voxel."""
        photons = self.levels[severity - 1].photons
        return torch.poisson(volume * photons, generator=generator) / photons
