"""Faults of any modality: noise, wrong scaling and missing parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.artefacts import draws, extents
from benchharness.artefacts.base import EVERYWHERE, GREY, PROJECTED, Artefact, Level
from benchharness.artefacts.transforms import UNIT, resampled, transformed

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from benchharness.artefacts.base import Spacing


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
    summary = "Independent Gaussian noise is added to every voxel."
    plausible = GREY
    levels: ClassVar[tuple[NoiseLevel, ...]] = (
        NoiseLevel(std=0.04),
        NoiseLevel(std=0.07),
        NoiseLevel(std=0.10),
        NoiseLevel(std=0.14),
        NoiseLevel(std=0.20),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Add noise from a seed that the generator draws."""
        import torchio

        seed = draws.integer(generator, 0, 2**31 - 1)
        noise = torchio.Noise(mean=0.0, std=self.levels[severity - 1].std, seed=seed)
        return transformed(noise, volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastLevel(Level):
    """Compressed contrast."""

    factor: float
    """Factor on each voxel's distance from the volume's mean."""


class Contrast(Artefact):
    """A window that is too wide."""

    name = "contrast"
    version = 1
    group = "general"
    source = "linear map about the mean (Hendrycks and Dietterich, ICLR 2019)"
    unit = "factor on the distance from the mean intensity"
    summary = "Intensities move towards their mean, as with too wide a window."
    plausible = GREY
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
    """A black cuboid."""

    side: float
    """Edges as fractions of those of the foreground's box."""


class OcclusionCube(Artefact):
    """An implant, a burnt-in label or a detector defect."""

    name = "occlusion_cube"
    version = 2
    group = "general"
    source = "cutout (DeVries and Taylor, arXiv 1708.04552) in three dimensions"
    unit = "edge in fractions of the foreground's box"
    summary = "A cuboid inside the foreground's box is black."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[OcclusionLevel, ...]] = (
        OcclusionLevel(side=0.28),
        OcclusionLevel(side=0.38),
        OcclusionLevel(side=0.47),
        OcclusionLevel(side=0.56),
        OcclusionLevel(side=0.64),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Blacken a cuboid inside the foreground's box."""
        side = self.levels[severity - 1].side
        depth, height, width = (
            draws.run(generator, box, side) for box in extents.foreground_box(volume)
        )
        volume[:, depth, height, width] = 0.0
        return volume


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurLevel(Level):
    """A wide point-spread function."""

    std: float
    """Standard deviation of the Gaussian as a fraction of the field of view, at 28 voxels."""
    narrowing: float
    """See `extents.narrowed`."""


class Blur(Artefact):
    """Too low a resolution."""

    name = "blur"
    version = 1
    group = "general"
    source = "torchio.Blur"
    unit = "standard deviation in fractions of the field of view, exponent on 28 / grid"
    summary = "A Gaussian point-spread function blurs the volume."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[BlurLevel, ...]] = (
        BlurLevel(std=0.5 / 28, narrowing=1.0),
        BlurLevel(std=0.7 / 28, narrowing=0.9),
        BlurLevel(std=1.2 / 28, narrowing=0.4),
        BlurLevel(std=2.0 / 28, narrowing=0.0),
        BlurLevel(std=3.0 / 28, narrowing=0.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Convolve with a Gaussian whose width is the same fraction of every axis."""
        return self.apply_spaced(volume, severity, generator, UNIT)

    def apply_spaced(
        self,
        volume: Tensor,
        severity: int,
        generator: Generator,  # noqa: ARG002
        spacing: Spacing,
    ) -> Tensor:
        """Convolve; on a physical volume the Gaussian is round, as wide as for the longest axis."""
        import torchio

        level = self.levels[severity - 1]
        depth, height, width = (
            extents.narrowed(level.std, n, level.narrowing) * n * edge
            for n, edge in zip(volume.shape[1:], spacing, strict=True)
        )
        if spacing != UNIT:
            depth = height = width = max(depth, height, width)
        blur = torchio.Blur(std=(depth, height, width))
        return transformed(blur, volume, spacing)


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaLevel(Level):
    """A bent intensity curve."""

    bend: float
    """Natural logarithm of the exponent, up or down."""


class Gamma(Artefact):
    """A display curve applied once too often."""

    name = "gamma"
    version = 1
    group = "general"
    source = "torchio.Gamma"
    unit = "natural logarithm of the exponent"
    summary = "Intensities are raised to a power, which darkens or brightens greys."
    plausible = GREY
    levels: ClassVar[tuple[GammaLevel, ...]] = (
        GammaLevel(bend=0.4),
        GammaLevel(bend=0.6),
        GammaLevel(bend=0.8),
        GammaLevel(bend=1.1),
        GammaLevel(bend=1.5),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Raise to the power exp(bend) or exp(-bend)."""
        import torchio

        sign = 2 * draws.integer(generator, 0, 1) - 1
        exponent = math.exp(sign * self.levels[severity - 1].bend)
        return transformed(torchio.Gamma(gamma=exponent), volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownsampleLevel(Level):
    """A coarse acquisition grid."""

    spacing: float
    """Voxel size of the coarse grid as a fraction of the field of view, at 28 voxels."""
    narrowing: float
    """See `extents.narrowed`."""


class Downsample(Artefact):
    """A scan on a coarse grid."""

    name = "downsample"
    version = 1
    group = "general"
    source = "torchio.Blur, then torchio.Resample twice, linear"
    unit = "voxel size in fractions of the field of view, exponent on 28 / grid"
    summary = "The volume was sampled on a coarser grid and interpolated back."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[DownsampleLevel, ...]] = (
        DownsampleLevel(spacing=1.1 / 28, narrowing=1.0),
        DownsampleLevel(spacing=1.6 / 28, narrowing=0.95),
        DownsampleLevel(spacing=2.5 / 28, narrowing=0.4),
        DownsampleLevel(spacing=4.0 / 28, narrowing=0.0),
        DownsampleLevel(spacing=6.0 / 28, narrowing=0.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:  # noqa: ARG002
        """Resample to the coarse grid and back; an axis of one voxel is not changed."""
        level = self.levels[severity - 1]
        spacing = [
            max(1.0, extents.narrowed(level.spacing, n, level.narrowing) * n) if n > 1 else 1.0
            for n in volume.shape[1:]
        ]
        return resampled(volume, spacing, "linear", antialias=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseLevel(Level):
    """Few grey levels."""

    steps: int
    """Steps between 0 and 1, one fewer than grey levels."""


class Quantise(Artefact):
    """An analogue-to-digital converter with too few bits."""

    name = "quantise"
    version = 1
    group = "general"
    source = "rounding to equal steps (posterise)"
    unit = "steps over the intensity range"
    summary = "Intensities are rounded to a few grey levels."
    plausible = GREY
    levels: ClassVar[tuple[QuantiseLevel, ...]] = (
        QuantiseLevel(steps=9),
        QuantiseLevel(steps=6),
        QuantiseLevel(steps=4),
        QuantiseLevel(steps=3),
        QuantiseLevel(steps=2),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:  # noqa: ARG002
        """Round to the nearest grey level."""
        steps = self.levels[severity - 1].steps
        return (volume * steps).round() / steps


@dataclass(frozen=True, slots=True, kw_only=True)
class DropoutLevel(Level):
    """A gap in the stack."""

    extent: float
    """Thickness of the gap as a fraction of the foreground's box along one axis."""


class DropoutSlices(Artefact):
    """Lost slices."""

    name = "dropout_slices"
    version = 1
    group = "general"
    source = "own: neither TorchIO nor MONAI drops slices"
    unit = "thickness in fractions of the foreground's box"
    summary = "A run of adjacent slices inside the foreground is missing and black."
    plausible = EVERYWHERE - PROJECTED
    levels: ClassVar[tuple[DropoutLevel, ...]] = (
        DropoutLevel(extent=0.065),
        DropoutLevel(extent=0.142),
        DropoutLevel(extent=0.21),
        DropoutLevel(extent=0.285),
        DropoutLevel(extent=0.39),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Blacken a run of slices along a drawn axis, inside the foreground's box."""
        axis = draws.wide_axis(generator, volume)
        box = extents.foreground_box(volume)[axis]
        gap = draws.run(generator, box, self.levels[severity - 1].extent)
        volume.narrow(axis + 1, gap.start, gap.stop - gap.start).zero_()
        return volume
