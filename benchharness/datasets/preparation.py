"""How volumes from a user's own files become grids: size, spacing, window, bits and channels.

What the user types is parsed here, for flags and config files alike; `grids` carries it out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from benchharness.datasets.base import Modality, Spacing
from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.canonical import Value

VERSION = 1
"""Raised when the same files and options start to give other voxels."""

_LARGEST = 1024
_ASK_SIZE = "Type one side, such as 28, or depth, height and width, such as 16,64,64"
_ASK_SPACING = "Type fit, one number in mm, such as 1.5, or three (depth, height, width)"
_ASK_WINDOW = (
    "Type percentiles:0.5,99.5 or ct:LEVEL,WIDTH, such as ct:40,400, or range:LOW,HIGH, such as "
    "range:0,1"
)
_ASK_CHANNELS = "Type how many a file has, such as 4, or columns of the CSV, such as t1,t2,flair"
MOST_CHANNELS = 16
"""A longer fourth axis is time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which intensities become 0 and 1; those outside are clipped."""

    kind: Literal["percentiles", "ct", "range"]
    low: float
    """A percentile of the volume's own voxels, 0..100, or an intensity as stored: in Hounsfield
    units for `ct`."""
    high: float

    @classmethod
    def parse(cls, text: object) -> Window:
        """Read `percentiles:LOW,HIGH`, `ct:LEVEL,WIDTH` or `range:LOW,HIGH`.

        Raises:
            BenchError: For any other text, ends out of order, or a width not above 0.
        """
        kind, _, rest = str(text).partition(":")
        numbers = _numbers(rest.split(","))
        if kind not in ("percentiles", "ct", "range") or numbers is None or len(numbers) != 2:
            raise BenchError(f"--window cannot be {text!r}. {_ASK_WINDOW}.")
        first, second = numbers
        if kind == "ct":
            if second <= 0:
                raise BenchError(
                    f"--window ct needs a width above 0, got {second:g} in {text!r}. {_ASK_WINDOW}."
                )
            return cls(kind="ct", low=first - second / 2, high=first + second / 2)
        if kind == "range":
            if first >= second:
                raise BenchError(f"--window range must rise, got {text!r}. {_ASK_WINDOW}.")
            return cls(kind="range", low=first, high=second)
        if not 0 <= first < second <= 100:
            raise BenchError(
                f"--window percentiles must rise within 0 to 100, got {text!r}. {_ASK_WINDOW}."
            )
        return cls(kind="percentiles", low=first, high=second)

    def __str__(self) -> str:
        if self.kind == "ct":
            return f"ct:{(self.low + self.high) / 2:g},{self.high - self.low:g}"
        return f"{self.kind}:{self.low:g},{self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is done to volumes from files before anything else sees them."""

    size: tuple[int, int, int] = (28, 28, 28)
    """Voxels of the grid, (D, H, W)."""
    spacing: Spacing | None = None
    """None fits the training volumes into the grid."""
    window: Window = Window(kind="percentiles", low=0.5, high=99.5)
    modality: Modality | None = None
    """Decides which artefacts are plausible; None means CT with a CT window, unknown otherwise.
    No voxel depends on it."""
    bits: Literal[8, 16] = 16
    """Of a prepared voxel; 8 is what was kept before there was a choice."""
    channels: int | tuple[str, ...] | None = None
    """How many channels a file's fourth axis holds, or the columns of a CSV that list one file a
    channel; None for one channel."""
    classes: tuple[str, ...] | None = None
    """Names in the order of the labels; None takes the data's own order."""

    def resolved(self, spacing: Spacing) -> dict[str, Value]:
        """What enters the digest: all that voxels depend on, with the spacing found or stated."""
        chosen: dict[str, Value] = {} if self.bits == 8 else {"bits": self.bits}
        if self.channels is not None:
            chosen["channels"] = self.channels
        return {
            "version": VERSION,
            "size": self.size,
            "spacing": spacing,
            "window": (self.window.kind, self.window.low, self.window.high),
            **chosen,
        }


def parse_size(value: object) -> tuple[int, int, int]:
    """Read `28`, `16,64,64` or a list of such whole numbers as (D, H, W).

    Raises:
        BenchError: For anything else, or a side below 1 or above 1024.
    """
    numbers = _numbers(_parts(value))
    if numbers is None or len(numbers) not in (1, 3) or any(n != int(n) for n in numbers):
        raise BenchError(f"--size cannot be {value!r}. {_ASK_SIZE}.")
    if not all(1 <= n <= _LARGEST for n in numbers):
        raise BenchError(f"--size must lie in 1 to {_LARGEST} voxels, got {value!r}. {_ASK_SIZE}.")
    depth, height, width = (int(n) for n in (numbers * 3 if len(numbers) == 1 else numbers))
    return depth, height, width


def parse_spacing(value: object) -> Spacing | None:
    """Read `fit` as None, and `1.5`, `3,1,1` or a list of such numbers as (D, H, W) in mm.

    Raises:
        BenchError: For anything else, or a spacing not above 0.
    """
    if value == "fit":
        return None
    numbers = _numbers(_parts(value))
    if numbers is None or len(numbers) not in (1, 3):
        raise BenchError(f"--spacing cannot be {value!r}. {_ASK_SPACING}.")
    if not all(n > 0 for n in numbers):
        raise BenchError(f"--spacing must be above 0 mm, got {value!r}. {_ASK_SPACING}.")
    depth, height, width = numbers * 3 if len(numbers) == 1 else numbers
    return depth, height, width


def parse_modality(value: object) -> Modality:
    """Read the name of a modality, such as `mri`.

    Raises:
        BenchError: For an unknown one; it lists close matches, then all.
    """
    for known in get_args(Modality):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise unknown_name("modality", str(value), get_args(Modality))


def parse_bits(value: object) -> Literal[8, 16]:
    """Read 8 or 16.

    Raises:
        BenchError: For anything else.
    """
    found: tuple[Literal[8, 16], ...] = (8, 16)
    for bits in found:
        if not isinstance(value, bool) and str(value).strip() == str(bits):
            return bits
    raise BenchError(f"--bits cannot be {value!r}. Type 16, or 8 for what earlier versions kept.")


def parse_channels(value: object) -> int | tuple[str, ...]:
    """Read a number of channels (`4`) or the names of a CSV's columns (`t1,t2,flair`).

    Raises:
        BenchError: For anything else, a number out of 2 to 16, or a column named twice.
    """
    parts = [part.strip() if isinstance(part, str) else part for part in _parts(value)]
    numbers = _numbers(parts)
    if numbers is not None and len(numbers) == 1:
        count = int(numbers[0])
        if count != numbers[0] or not 2 <= count <= MOST_CHANNELS:
            raise BenchError(
                f"--channels must lie in 2 to {MOST_CHANNELS}, got {value!r}. {_ASK_CHANNELS}."
            )
        return count
    names = tuple(part.lower() for part in parts if isinstance(part, str) and part)
    if len(names) < len(parts) or not 2 <= len(set(names)) == len(names):
        raise BenchError(f"--channels cannot be {value!r}. {_ASK_CHANNELS}.")
    if len(names) > MOST_CHANNELS:
        raise BenchError(f"--channels takes at most {MOST_CHANNELS} columns, got {len(names)}.")
    return names


def parse_classes(value: object) -> tuple[str, ...]:
    """Read the names of classes, in the order of their labels.

    Raises:
        BenchError: For fewer than two, an empty one, or one that is named twice.
    """
    names = tuple(str(part).strip() for part in _parts(value))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise BenchError(
            f"--classes cannot be {value!r}. Type every class once, in the order of the labels, "
            "such as benign,malignant."
        )
    return names


def _parts(value: object) -> Sequence[object]:
    if isinstance(value, str):
        return value.split(",")
    return value if isinstance(value, list | tuple) else [value]


def _numbers(parts: Sequence[object]) -> list[float] | None:
    """The parts as finite numbers, or None where one is not."""
    found = []
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float):
            return None
        try:
            found.append(float(part))
        except (ValueError, OverflowError):
            return None
    return found if all(map(math.isfinite, found)) else None
