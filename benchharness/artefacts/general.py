"""Faults that any modality can have: noise, wrong scaling and missing parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.artefacts import drawing
from benchharness.artefacts._torchio import transformed
from benchharness.artefacts.base import Artefact, Level

if TYPE_CHECKING:
    from torch import Generator, Tensor

ANY = frozenset({"mri", "phantom", "ct", "electron microscopy"})
"""Every modality with grey levels; a shape mask has none to disturb."""

EVERYWHERE = ANY | {"shape"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevel(Level):
    """White noise."""

    std: float
    """Standard deviation as a fraction of the intensity range."""


class GaussianNoise(Artefact):
    """Electronic noise."""

    name = "gaussian_noise"
    version = 1
    group = "general"
    source = "torchio.Noise"
    unit = "standard deviation in fractions of the intensity range"
    summary = "Independent normal noise is added to every voxel."
    plausible = ANY
    levels: ClassVar[tuple[NoiseLevel, ...]] = (
        NoiseLevel(std=0.04),
        NoiseLevel(std=0.07),
        NoiseLevel(std=0.10),
        NoiseLevel(std=0.14),
        NoiseLevel(std=0.20),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Add noise from a seed of the generator's."""
        import torchio

        seed = drawing.integer(generator, 0, 2**31 - 1)
        noise = torchio.Noise(mean=0.0, std=self.levels[severity - 1].std, seed=seed)
        return transformed(noise, volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastLevel(Level):
    """Compressed contrast."""

    factor: float
    """What is left of the distance of every voxel from the volume's mean."""


class Contrast(Artefact):
    """A window that is too wide."""

    name = "contrast"
    version = 1
    group = "general"
    source = "linear map about the mean (Hendrycks and Dietterich, ICLR 2019)"
    unit = "factor on the distance from the mean intensity"
    summary = "Intensities move towards their mean, as under too wide a window."
    plausible = ANY
    levels: ClassVar[tuple[ContrastLevel, ...]] = (
        ContrastLevel(factor=0.65),
        ContrastLevel(factor=0.52),
        ContrastLevel(factor=0.42),
        ContrastLevel(factor=0.33),
        ContrastLevel(factor=0.25),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:  # noqa: ARG002
        """Scale about the mean, which is summed in float64."""
        mean = float(volume.double().mean())
        return mean + (volume - mean) * self.levels[severity - 1].factor


@dataclass(frozen=True, slots=True, kw_only=True)
class OcclusionLevel(Level):
    """A blind cube."""

    side: float
    """Edge as a fraction of the edges of the foreground's box."""


class OcclusionCube(Artefact):
    """An implant, a burnt-in label or a detector's defect."""

    name = "occlusion_cube"
    version = 1
    group = "general"
    source = "cutout (DeVries and Taylor, arXiv 1708.04552) in three dimensions"
    unit = "edge in fractions of the foreground's box"
    summary = "A cuboid somewhere in the foreground's box is black."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[OcclusionLevel, ...]] = (
        OcclusionLevel(side=0.28),
        OcclusionLevel(side=0.38),
        OcclusionLevel(side=0.47),
        OcclusionLevel(side=0.56),
        OcclusionLevel(side=0.64),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Blacken a cuboid that lies inside the foreground's box."""
        side = self.levels[severity - 1].side
        places = []
        for box in drawing.foreground_box(volume):
            length = box.stop - box.start
            edge = max(1, round(side * length))
            start = box.start + drawing.integer(generator, 0, length - edge)
            places.append(slice(start, start + edge))
        volume[:, places[0], places[1], places[2]] = 0.0
        return volume
