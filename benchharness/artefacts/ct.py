"""Faults of computed tomography."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from benchharness.artefacts import draws, extents, tomography
from benchharness.artefacts.base import Artefact, Level

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonLevel(Level):
    """A dose."""

    photons: float
    """Photons counted in a voxel of intensity 1."""


class PoissonNoise(Artefact):
    """Counting noise at a low dose."""

    name = "poisson_noise"
    version = 1
    group = "ct"
    source = "torch.poisson (shot noise as in Hendrycks and Dietterich, ICLR 2019)"
    unit = "photons in a voxel of intensity 1"
    summary = "Few photons were counted, so noise grows with the square root of the intensity."
    plausible = frozenset({"ct", "x-ray", "phantom", "electron microscopy"})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakLevel(Level):
    """Views of a slice."""

    views: float
    """Fraction of a full scan's views that were taken."""
    narrowing: float
    """See `extents.narrowed`."""


class Streaks(Artefact):
    """A scan with too few views."""

    name = "streaks"
    version = 1
    group = "ct"
    source = "own: filtered back-projection of few parallel views (Kak and Slaney, 1988, ch. 3)"
    unit = "fraction of the views of a full scan, exponent on 28 / grid"
    summary = "Slices reconstructed from too few views show streaks."
    plausible = frozenset({"ct", "phantom"})
    levels: ClassVar[tuple[StreakLevel, ...]] = (
        StreakLevel(views=0.46, narrowing=0.5),
        StreakLevel(views=0.35, narrowing=0.5),
        StreakLevel(views=0.25, narrowing=0.6),
        StreakLevel(views=0.18, narrowing=0.5),
        StreakLevel(views=0.1, narrowing=0.85),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Add the difference between reconstructions from few and from all views, per slice in D.

        Adding only the difference leaves out the blur that any reconstruction on such a coarse grid
        has.
        """
        level = self.levels[severity - 1]
        size = max(volume.shape[2:])
        full = max(2, math.ceil(math.pi / 2 * size))
        taken = max(1, round(extents.narrowed(level.views, size, level.narrowing) * full))
        first = draws.integer(generator, 0, full - 1)
        chosen = (first + np.floor(np.arange(taken) * full / taken).astype(int)) % full
        weights = np.full(full, -1.0)
        weights[chosen] += full / taken
        slices = volume.double().numpy()
        made = [tomography.reconstruct(channel, weights) for channel in slices]
        return volume + torch.from_numpy(np.stack(made)).float()
