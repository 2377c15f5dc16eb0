"""Faults of magnetic resonance imaging.

TorchIO's deterministic transforms do the work (Pérez-García et al., "TorchIO", Computer Methods and
Programs in Biomedicine 208, 2021); all draws are made here. The faults are those of ROOD-MRI (Boone
et al., NeuroImage 278, 2023), with levels calibrated by SSIM on the embedded phantom.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from benchharness.artefacts import draws, extents
from benchharness.artefacts.base import EVERYWHERE, PROJECTED, Artefact, Level
from benchharness.artefacts.transforms import UNIT, resampled, rigid, transformed

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from benchharness.artefacts.base import Spacing

MRI = frozenset({"mri", "phantom"})
"""No MedMNIST3D set holds magnetic resonance images; the phantom stands in for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionLevel(Level):
    """Movements between parts of k-space."""

    rotation: float
    """Largest rotation about each axis, in degrees; the smallest is half of it."""
    translation: float
    """Largest shift along each axis, as a fraction of the field of view; the smallest is half."""
    moves: int
    """How often the subject moves during the acquisition."""
    calm: float
    """Fraction of the acquisition without moves, around the centre of k-space, at 28 planes."""


class Motion(Artefact):
    """Movements of the subject while k-space is filled along the last axis."""

    name = "motion"
    version = 1
    group = "mr"
    source = "torchio.Motion (Shaw et al., MIDL 2019)"
    unit = "degrees, fractions of the field of view, number of moves, fraction of the time"
    summary = "The subject rotates and shifts while k-space is being filled."
    plausible = MRI
    levels: ClassVar[tuple[MotionLevel, ...]] = (
        MotionLevel(rotation=4.0, translation=0.05, moves=2, calm=0.65),
        MotionLevel(rotation=4.0, translation=0.05, moves=3, calm=0.45),
        MotionLevel(rotation=6.0, translation=0.06, moves=5, calm=0.15),
        MotionLevel(rotation=8.0, translation=0.08, moves=7, calm=0.0),
        MotionLevel(rotation=16.0, translation=0.12, moves=10, calm=0.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Fill k-space in parts from moved copies; the part at its centre is not moved."""
        return self.apply_spaced(volume, severity, generator, UNIT)

    def apply_spaced(
        self, volume: Tensor, severity: int, generator: Generator, spacing: Spacing
    ) -> Tensor:
        """Move the physical volume."""
        import torchio

        degrees, translation, times = self.draw(volume, severity, generator, spacing)
        motion = torchio.Motion(
            degrees=degrees, translation=translation, times=times, image_interpolation="linear"
        )
        return transformed(motion, volume, spacing)

    def draw(
        self, volume: Tensor, severity: int, generator: Generator, spacing: Spacing = UNIT
    ) -> tuple[Any, Any, Any]:
        """Draw the rotations, the shifts and the times of the moves.

        Returns:
            Degrees, (moves, 3), shifts in the spacing's unit, (moves, 3), and times in 0 to 1,
            (moves,).
        """
        level = self.levels[severity - 1]
        degrees = draws.signed(generator, level.rotation, level.moves, 3)
        shifts = draws.signed(generator, level.translation, level.moves, 3)
        rotations, translations = rigid(volume, degrees, shifts, spacing)
        return rotations, translations, self._times(generator, level, volume.shape[3]).numpy()

    @staticmethod
    def _times(generator: Generator, level: MotionLevel, size: int) -> Tensor:
        """Draw when the subject moves, in 0 to 1; the centre of k-space is filled at 0.5.

        Anatomy lies within the same cycles per field of view on any grid, but noise fills all of
        k-space. Beyond 28 planes, the moving part of the acquisition therefore grows more slowly
        than k-space, with an exponent that makes a level's mean SSIM the same at 28 and 64 voxels.
        """
        jitter = draws.uniform(generator, -0.3, 0.3, level.moves)
        even = torch.arange(1, level.moves + 1, dtype=torch.float64)
        offset = 2 * (even + jitter) / (level.moves + 1) - 1
        away = torch.sign(offset) * (level.calm + (1 - level.calm) * offset.abs())
        narrowing: float = min(1.0, 28 / size) ** (0.68 * (1 - level.calm) ** 1.2)
        return 0.5 + away / 2 * narrowing


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostingLevel(Level):
    """Copies of the volume, shifted along one axis."""

    intensity: float
    """Fraction of the signal that goes into ghosts; above 1, the affected planes change sign."""


class Ghosting(Artefact):
    """Periodic movement: every n-th plane of k-space is attenuated."""

    name = "ghosting"
    version = 1
    group = "mr"
    source = "torchio.Ghosting"
    unit = "intensity in fractions of the signal"
    summary = "Breathing or pulsation repeats the subject along the phase-encoding axis."
    plausible = MRI
    levels: ClassVar[tuple[GhostingLevel, ...]] = (
        GhostingLevel(intensity=0.7),
        GhostingLevel(intensity=1.1),
        GhostingLevel(intensity=1.5),
        GhostingLevel(intensity=2.0),
        GhostingLevel(intensity=2.4),
    )
    ghosts: ClassVar[tuple[int, ...]] = (2, 3, 6)
    """Their possible numbers, which hit planes alike around the centre at 28 and 64 voxels."""

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Scale every n-th plane along a drawn axis and restore the central plane."""
        import torchio

        axis, number = self.draw(volume, generator)
        ghosting = torchio.Ghosting(
            num_ghosts=number,
            axis=axis,
            intensity=self.levels[severity - 1].intensity,
            restore=None,
        )
        return transformed(ghosting, volume)

    def draw(self, volume: Tensor, generator: Generator) -> tuple[int, int]:
        """Draw the axis and the number of ghosts."""
        axis = draws.wide_axis(generator, volume)
        return axis, self.ghosts[draws.integer(generator, 0, len(self.ghosts) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasFieldLevel(Level):
    """A smooth gain over the field of view."""

    spread: float
    """Standard deviation of the gain's logarithm over the field of view."""
    order: int = 3
    """Degree of the polynomial whose exponential is the gain."""


class BiasField(Artefact):
    """A receive coil of uneven sensitivity."""

    name = "bias_field"
    version = 1
    group = "mr"
    source = "torchio.BiasField (Van Leemput et al., IEEE TMI 18, 1999)"
    unit = "spread of the natural logarithm of the gain, order of the polynomial"
    summary = "The coil's uneven sensitivity brightens some regions and darkens others."
    plausible = MRI
    levels: ClassVar[tuple[BiasFieldLevel, ...]] = (
        BiasFieldLevel(spread=0.2),
        BiasFieldLevel(spread=0.4),
        BiasFieldLevel(spread=0.6),
        BiasFieldLevel(spread=0.8),
        BiasFieldLevel(spread=0.95),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Multiply by the exponential of a polynomial of mean 0 and the level's spread.

        TorchIO's random transform also draws the constant term, a gain over the whole volume, and
        leaves the strength of the field to chance.
        """
        import torchio

        coefficients = self.draw(volume, severity, generator)
        order = self.levels[severity - 1].order
        field = torchio.BiasField(coefficients=coefficients.tolist(), order=order)
        return transformed(field, volume)

    def draw(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Draw the coefficients of the monomials, in float64 and the order of `powers`."""
        level = self.levels[severity - 1]
        monomials = powers(level.order)
        drawn = draws.uniform(generator, -1, 1, len(monomials))
        drawn[0] = 0
        mean, covariance = _moments(level.order, tuple(volume.shape[1:]))
        spread = torch.sqrt(drawn @ covariance @ drawn)
        coefficients = drawn * (level.spread / spread)
        coefficients[0] = -(coefficients @ mean)
        return coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeLevel(Level):
    """A single bright point of k-space."""

    amplitude: float
    """Amplitude of the stripes as a fraction of the intensity range."""


class Spike(Artefact):
    """A spark in the receiver, which adds stripes to the whole volume."""

    name = "spike"
    version = 1
    group = "mr"
    source = "torchio.Spike"
    unit = "amplitude in fractions of the intensity range"
    summary = "A spark while k-space is read adds stripes to the volume (herringbone)."
    plausible = MRI
    levels: ClassVar[tuple[SpikeLevel, ...]] = (
        SpikeLevel(amplitude=0.04),
        SpikeLevel(amplitude=0.08),
        SpikeLevel(amplitude=0.13),
        SpikeLevel(amplitude=0.18),
        SpikeLevel(amplitude=0.27),
    )
    cycles: ClassVar[tuple[int, int]] = (2, 10)
    """Range of the stripes' cycles per field of view and axis, as a grid of 28 voxels can show."""

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Add stripes of a drawn frequency.

        TorchIO scales a spike with the largest magnitude in k-space, which for intensities in
        [0, 1] is the sum of all voxels; the factor passed to it undoes that.
        """
        import torchio

        level = self.levels[severity - 1]
        position = self.draw(volume, generator)[None]
        made = []
        for channel in volume:
            peak = float(channel.double().sum())
            ratio = level.amplitude * channel.numel() / peak if peak else 0.0
            spike = torchio.Spike(spikes_positions=position.numpy(), intensity=ratio)
            made.append(transformed(spike, channel[None]))
        return torch.cat(made)

    def draw(self, volume: Tensor, generator: Generator) -> Tensor:
        """Draw a point of k-space, (3,), as fractions of its axes, in float64."""
        grid = torch.tensor(volume.shape[1:], dtype=torch.float64)
        low, high = self.cycles
        cycles = torch.floor(draws.uniform(generator, low, high + 1, 3))
        sign = torch.randint(0, 2, (3,), generator=generator, dtype=torch.float64) * 2 - 1
        reach = torch.div(grid - 1, 2, rounding_mode="floor")
        index = torch.div(grid, 2, rounding_mode="floor") + sign * torch.minimum(cycles, reach)
        return (index + 0.5) / grid


@dataclass(frozen=True, slots=True, kw_only=True)
class RicianLevel(Level):
    """Noise in both receiver channels."""

    std: float
    """Standard deviation in each channel as a fraction of the intensity range."""


class RicianNoise(Artefact):
    """Noise in a magnitude image."""

    name = "rician_noise"
    version = 1
    group = "mr"
    source = "monai.transforms.RandRicianNoise (Gudbjartsson and Patz, MRM 34, 1995)"
    unit = "standard deviation in fractions of the intensity range"
    summary = "Noise in the magnitude of a complex signal, which brightens dark regions."
    plausible = MRI
    levels: ClassVar[tuple[RicianLevel, ...]] = (
        RicianLevel(std=0.04),
        RicianLevel(std=0.07),
        RicianLevel(std=0.10),
        RicianLevel(std=0.14),
        RicianLevel(std=0.20),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Add complex noise from a seed that the generator draws, and take the magnitude."""
        from monai.transforms.intensity.array import RandRicianNoise

        noise = RandRicianNoise(prob=1.0, std=self.levels[severity - 1].std, sample_std=False)
        noise.set_random_state(seed=draws.integer(generator, 0, 2**31 - 1))
        return _plain(noise(volume.numpy()))


@dataclass(frozen=True, slots=True, kw_only=True)
class GibbsLevel(Level):
    """The acquired part of k-space."""

    cycles: float
    """Radius in k-space, in cycles per field of view at 28 voxels."""
    narrowing: float
    """See `extents.narrowed`; 1 keeps the fraction of k-space instead of the radius."""


class GibbsRinging(Artefact):
    """A truncated k-space."""

    name = "gibbs_ringing"
    version = 1
    group = "mr"
    source = "monai.transforms.GibbsNoise"
    unit = "radius of k-space in cycles per field of view, exponent on 28 / grid"
    summary = "High frequencies were not acquired, so edges ring."
    plausible = MRI
    levels: ClassVar[tuple[GibbsLevel, ...]] = (
        GibbsLevel(cycles=14.0, narrowing=1.0),
        GibbsLevel(cycles=11.0, narrowing=0.85),
        GibbsLevel(cycles=8.0, narrowing=0.6),
        GibbsLevel(cycles=5.0, narrowing=0.2),
        GibbsLevel(cycles=3.0, narrowing=0.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:  # noqa: ARG002
        """Cut k-space outside a sphere."""
        from monai.transforms.intensity.array import GibbsNoise

        level = self.levels[severity - 1]
        size = max(volume.shape[1:])
        radius = level.cycles / extents.narrowed(1.0, size, level.narrowing)
        # MONAI takes the radius as a fraction of the distance to the corner of k-space.
        alpha = 1 - radius / (size * 2**0.5 / 2)
        made = GibbsNoise(alpha=min(max(alpha, 0.0), 1.0))(volume.numpy())
        return _plain(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnisotropyLevel(Level):
    """A distance between slices."""

    thickness: float
    """Distance between slices as a fraction of the field of view, at 28 voxels."""
    narrowing: float
    """See `extents.narrowed`."""


class Anisotropy(Artefact):
    """A scan with few slices."""

    name = "anisotropy"
    version = 1
    group = "mr"
    source = "torchio.Resample twice, as in torchio.RandomAnisotropy (Billot et al., MIDL 2020)"
    unit = "slice distance in fractions of the field of view, exponent on 28 / grid"
    summary = "Slices are far apart along one axis, and the gaps between them are interpolated."
    plausible = EVERYWHERE - PROJECTED
    levels: ClassVar[tuple[AnisotropyLevel, ...]] = (
        AnisotropyLevel(thickness=1.3 / 28, narrowing=1.0),
        AnisotropyLevel(thickness=2.0 / 28, narrowing=0.8),
        AnisotropyLevel(thickness=3.0 / 28, narrowing=0.6),
        AnisotropyLevel(thickness=5.0 / 28, narrowing=0.2),
        AnisotropyLevel(thickness=8.0 / 28, narrowing=0.18),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Take single slices along a drawn axis and interpolate linearly between them."""
        level = self.levels[severity - 1]
        axis = draws.wide_axis(generator, volume)
        size = volume.shape[axis + 1]
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = max(1.0, extents.narrowed(level.thickness, size, level.narrowing) * size)
        return resampled(volume, spacing, "nearest")


def _plain(made: Any) -> Tensor:
    """The result of a MONAI transform, without its metadata."""
    return torch.as_tensor(made).as_subclass(torch.Tensor)


def powers(order: int) -> list[tuple[int, int, int]]:
    """Exponents of the monomials in the order of `torchio.BiasField`'s coefficients."""
    return [
        (x, y, z)
        for x in range(order + 1)
        for y in range(order + 1 - x)
        for z in range(order + 1 - x - y)
    ]


@lru_cache(maxsize=64)
def _moments(order: int, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Means and covariances of the monomials over a grid scaled to [-1, 1], in float64.

    A monomial is a product over the axes, so its mean is the product of one-dimensional means.
    """
    monomials = powers(order)
    top = 2 * order
    raw = []
    for size in grid:
        places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
        scaled = places / places.max() if size > 1 else places
        raw.append([float((scaled**power).mean()) for power in range(top + 1)])

    def mean_of(one: tuple[int, ...], other: tuple[int, ...] = (0, 0, 0)) -> float:
        product = 1.0
        for moments, a, b in zip(raw, one, other, strict=True):
            product *= moments[a + b]
        return product

    mean = torch.tensor([mean_of(power) for power in monomials], dtype=torch.float64)
    second = [[mean_of(one, other) for other in monomials] for one in monomials]
    covariance = torch.tensor(second, dtype=torch.float64) - torch.outer(mean, mean)
    return mean, covariance
