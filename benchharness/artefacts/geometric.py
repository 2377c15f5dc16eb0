"""Faults of position and shape: the subject is moved or deformed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.artefacts import draws, extents
from benchharness.artefacts.base import EVERYWHERE, Artefact, Level
from benchharness.artefacts.transforms import UNIT, rigid, transformed

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from benchharness.artefacts.base import Spacing


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineLevel(Level):
    """A rigid movement between the scout and the scan."""

    rotation: float
    """Largest rotation about each axis, in degrees; the smallest is half of it."""
    translation: float
    """Largest shift along each axis, as a fraction of the field of view; the smallest is half."""
    narrowing: float
    """Applies to both; see `extents.narrowed`."""


class Affine(Artefact):
    """A different position of the subject."""

    name = "affine"
    version = 1
    group = "geometric"
    source = "torchio.Affine, linear interpolation"
    unit = "degrees, fractions of the field of view, exponent on 28 / grid"
    summary = "The subject is slightly rotated and shifted."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[AffineLevel, ...]] = (
        AffineLevel(rotation=0.8, translation=0.008, narrowing=1.0),
        AffineLevel(rotation=1.6, translation=0.016, narrowing=0.7),
        AffineLevel(rotation=3.5, translation=0.035, narrowing=0.1),
        AffineLevel(rotation=6.0, translation=0.06, narrowing=0.0),
        AffineLevel(rotation=9.0, translation=0.09, narrowing=0.0),
    )

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Rotate about the centre and shift; outside, the volume is as dark as its minimum."""
        return self.apply_spaced(volume, severity, generator, UNIT)

    def apply_spaced(
        self, volume: Tensor, severity: int, generator: Generator, spacing: Spacing
    ) -> Tensor:
        """Move the physical volume."""
        import torchio

        level = self.levels[severity - 1]
        size = max(volume.shape[1:])
        turn = extents.narrowed(level.rotation, size, level.narrowing)
        shift = extents.narrowed(level.translation, size, level.narrowing)
        degrees = draws.signed(generator, turn, 3)
        shifts = draws.signed(generator, shift, 3)
        rotations, translations = rigid(volume, degrees, shifts, spacing)
        affine = torchio.Affine(
            scales=(1.0, 1.0, 1.0),
            degrees=tuple(rotations.tolist()),
            translation=tuple(translations.tolist()),
            default_pad_value="minimum",
        )
        return transformed(affine, volume, spacing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticLevel(Level):
    """A smooth deformation."""

    displacement: float
    """Largest shift of a control point along each axis, as a fraction of the field of view."""
    narrowing: float
    """See `extents.narrowed`."""


class Elastic(Artefact):
    """Soft tissue that deforms."""

    name = "elastic"
    version = 1
    group = "geometric"
    source = "torchio.ElasticDeformation, cubic B-spline over 7 control points per axis"
    unit = "displacement in fractions of the field of view, exponent on 28 / grid"
    summary = "A smooth random displacement field deforms the volume."
    plausible = EVERYWHERE
    levels: ClassVar[tuple[ElasticLevel, ...]] = (
        ElasticLevel(displacement=0.024, narrowing=1.0),
        ElasticLevel(displacement=0.04, narrowing=0.8),
        ElasticLevel(displacement=0.06, narrowing=0.7),
        ElasticLevel(displacement=0.085, narrowing=0.4),
        ElasticLevel(displacement=0.12, narrowing=0.2),
    )
    points: ClassVar[int] = 7
    """Control points per axis."""

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Move the control points; a volume of depth 1 stays in its plane."""
        import torchio

        level = self.levels[severity - 1]
        grid = volume.shape[1:]
        size = max(grid)
        limit = extents.narrowed(level.displacement, size, level.narrowing)
        shape = (self.points,) * 3 + (3,)
        sizes = torch.tensor([n if n > 1 else 0 for n in grid], dtype=torch.float64)
        shifts = draws.signed(generator, limit, *shape) * sizes
        depth, height, width = (sizes * limit).tolist()
        elastic = torchio.ElasticDeformation(
            control_points=shifts.numpy(), max_displacement=(depth, height, width)
        )
        return transformed(elastic, volume)
