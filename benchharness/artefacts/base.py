"""What an artefact is: a table of five levels and one method, inside one checked call.

The author of an artefact writes `levels` and `apply`. `__call__` owns everything else: it checks
the volume, seeds the generator from the names of volume, artefact, level and seed, leaves global
generators untouched, and checks, clips and rounds the result.

Levels are fractions of the field of view or of the intensity range, never voxels or millimetres:
most volumes have no known spacing, and a level must mean the same on a coarse grid and on a fine
one. Frequencies are in cycles per field of view for the same reason.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

import torch

from benchharness import randomness
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import contained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Generator, Tensor

Group = Literal["mr", "ct", "general", "geometric"]

Spacing = tuple[float, float, float]
"""Edges of a voxel along D, H and W, in millimetres where they are known."""

GREY = frozenset({"mri", "phantom", "ct", "x-ray", "electron microscopy"})
"""Modalities with grey levels; a shape mask has none to disturb."""

EVERYWHERE = GREY | {"shape"}
"""Modalities of faults that a mask drawn on a faulty scan can also inherit."""

PROJECTED = frozenset({"x-ray"})
"""Modalities without slices: what falls between them or is lost with one cannot happen there."""

LEVELS = (1, 2, 3, 4, 5)
"""The severities of every artefact, mild to severe."""

SUITE_VERSION = 2
"""Version of the whole suite, part of every artefact's identity. Raised when the output of any
artefact changes, or anything done around all of them."""

STEPS = 65535
"""Corrupted volumes are stored as uint16: intensities in steps of 1 / 65535."""

CANONICAL = "cpu"
"""The implementation that defines an artefact's output: one volume at a time, on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Parameters of one severity; each artefact adds its fields in a subclass."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corrupted:
    """A volume after an artefact."""

    volume: Tensor
    """Shape (C, D, H, W), float32 in [0, 1], on the CPU, in steps of 1/65535."""
    clipped: float
    """Fraction of voxels more than half a step outside [0, 1], which were clipped."""


class Artefact(ABC):
    """An acquisition fault. Stateless: the same arguments give the same bits everywhere."""

    name: ClassVar[str]
    """What the user types."""
    version: ClassVar[int]
    """Raised whenever the output changes; part of a cell's identity."""
    group: ClassVar[Group]
    source: ClassVar[str]
    """What computes the fault, and the paper that models it."""
    unit: ClassVar[str]
    """Units of the levels' fields, for tables."""
    summary: ClassVar[str]
    """What the fault is, in one sentence."""
    plausible: ClassVar[frozenset[str]]
    """Modalities whose acquisition can produce it; on any other it is a stress test."""
    levels: ClassVar[tuple[Level, ...]]
    """Five rows, mild to severe."""

    def parameters(self, severity: int) -> Pairs:
        """Resolved parameters of a level.

        Raises:
            BenchError: When the level does not exist.
        """
        return pairs(asdict(self.level(severity)))

    def identity(self, severity: int, implementation: str = CANONICAL) -> Pairs:
        """What enters a cell's identity: parameters, the suite's version, the implementation.

        Args:
            severity: Level, 1 to 5.
            implementation: `cpu`, or the name of a faster implementation, whose output is close to
                the canonical one but differs in its bits, so it is a different cell.

        Raises:
            BenchError: When the level does not exist.
        """
        extra = {"suite": SUITE_VERSION, "implementation": implementation}
        return pairs(asdict(self.level(severity)) | extra)

    def level(self, severity: int) -> Level:
        """The row of a severity.

        Raises:
            BenchError: When the level does not exist.
        """
        if isinstance(severity, bool) or severity not in LEVELS:
            raise BenchError(
                f"artefact {self.name!r} has no level {severity!r}. Choose severities from 1 to 5."
            )
        return self.levels[int(severity) - 1]

    @final
    def __call__(
        self,
        volume: Tensor,
        *,
        severity: int,
        id: str,  # noqa: A002
        seed: int,
        spacing: Spacing | None = None,
    ) -> Corrupted:
        """Corrupt one volume.

        Args:
            volume: Shape (C, D, H, W), float32 in [0, 1], on the CPU; never changed.
            severity: Level, 1 to 5.
            id: The volume's name; with `severity` and `seed` it decides every draw.
            seed: Perturbation seed.
            spacing: In millimetres, where known: lengths and angles are then those of the physical
                volume.

        Raises:
            BenchError: When the level does not exist, the spacing is not positive, or the volume
                has no voxels, another shape or dtype, only zeros, or values that are not finite or
                outside [0, 1].
            CellError: When the result has another shape, is not finite, or is constant though the
                volume was not.
        """
        self.level(severity)
        check_input(volume, f"artefact {self.name!r}, volume {id!r}")
        _check_spacing(spacing, self.name)
        names = (id, self.name, severity, seed)
        # TorchIO draws from the global generator even where nothing is random.
        with contained(), _one_thread(), randomness.isolated(*names), torch.no_grad():
            generator = randomness.torch_generator(*names)
            if spacing is None:
                made = self.apply(volume.clone(), severity, generator)
            else:
                made = self.apply_spaced(volume.clone(), severity, generator, spacing)
        check_output(made, volume, f"artefact {self.name!r} at level {severity}, volume {id!r}")
        rounded, outside = finished(made)
        return Corrupted(volume=rounded, clipped=float(outside.double().mean()))

    @abstractmethod
    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        """Return the volume with the fault; `__call__` clips it.

        Args:
            volume: Shape (C, D, H, W), float32 in [0, 1], on the CPU; may be changed in place.
            severity: Level, 1 to 5, checked already.
            generator: The only source of randomness.

        Returns:
            A floating-point tensor of the same shape; it may leave [0, 1].
        """

    def apply_spaced(
        self,
        volume: Tensor,
        severity: int,
        generator: Generator,
        spacing: Spacing,  # noqa: ARG002
    ) -> Tensor:
        """Return the volume with the fault when its spacing is known.

        Faults that act only along the axes, or on intensities, need not override this.

        Args:
            volume: As for `apply`.
            severity: As for `apply`.
            generator: As for `apply`.
            spacing: In millimetres.

        Returns:
            As `apply`.
        """
        return self.apply(volume, severity, generator)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: the last bits of its sums and Fourier transforms depend on how many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_spacing(spacing: Spacing | None, name: str) -> None:
    if spacing is None:
        return
    if len(spacing) != 3 or not all(math.isfinite(edge) and edge > 0 for edge in spacing):
        raise BenchError(
            f"artefact {name!r}: the spacing {spacing!r} is not three positive numbers. Give the "
            "edges of a voxel along D, H and W in millimetres, such as (3.0, 1.0, 1.0)."
        )


def finished(made: Tensor) -> tuple[Tensor, Tensor]:
    """Clip to [0, 1] and round to uint16's steps.

    Returns:
        The volumes in float32, and which voxels were clipped: those outside [0, 1] by more than
        rounding removes.
    """
    made = made.float()
    half = 0.5 / STEPS
    # 65535 = 257 * 255, so an unchanged voxel keeps its exact value.
    return (made.clamp(0, 1) * STEPS).round() / STEPS, (made < -half) | (made > 1 + half)


def check_input(volume: Tensor, what: str) -> None:
    """Refuse a volume that no artefact accepts; the message begins with `what`.

    Raises:
        BenchError: See `Artefact.__call__`.
    """
    if volume.ndim != 4 or volume.numel() == 0:
        raise BenchError(
            f"{what}: shape {tuple(volume.shape)}; expected (C, D, H, W) with at least one voxel."
        )
    if volume.dtype != torch.float32 or volume.device.type != "cpu":
        raise BenchError(
            f"{what}: {volume.dtype} on {volume.device}; expected torch.float32 on the CPU, "
            "intensities in [0, 1]."
        )
    if not bool(torch.isfinite(volume).all()):
        raise BenchError(f"{what}: intensities are NaN or infinite; expected numbers in [0, 1].")
    low, high = float(volume.min()), float(volume.max())
    if low == high == 0:
        raise BenchError(
            f"{what}: every voxel is 0, so there is nothing to corrupt. Take the volume out of the "
            "split."
        )
    if low < 0 or high > 1:
        raise BenchError(
            f"{what}: intensities in [{low:g}, {high:g}]; expected [0, 1]: divide uint8 by 255."
        )


def check_output(made: Tensor, volume: Tensor, what: str) -> None:
    """Refuse a result that is not a corrupted volume; the message begins with `what`.

    Raises:
        CellError: See `Artefact.__call__`.
    """
    if made.shape != volume.shape or not made.is_floating_point():
        raise CellError(
            f"{what}: returned {made.dtype} of shape {tuple(made.shape)}; expected floating point "
            f"of shape {tuple(volume.shape)}"
        )
    if not bool(torch.isfinite(made).all()):
        raise CellError(f"{what}: returned NaN or infinite intensities")
    if float(volume.min()) < float(volume.max()) and float(made.min()) == float(made.max()):
        raise CellError(f"{what}: nothing is left of the volume; every voxel is the same")
