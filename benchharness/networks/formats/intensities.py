"""Transforms of MONAI → our preprocessing, where both do the same to a volume in [0, 1].

Volumes reach a network in [0, 1], whatever their file held. What MONAI computes from a volume's own
intensities (a z-score, a stretch to [0, 1]) is the same on both scales. A range in Hounsfield units
is none: it is what `--window` does while volumes are prepared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchharness.datasets.preparation import Window

_LOADING = {
    *("LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "ToTensor", "CastToType"),
    *("SelectItems", "DeleteItems", "Identity"),
}
_GRID = {"Orientation", "Spacing"}
"""What `--size` and `--spacing` do, for every network alike."""


class _NotOursError(Exception):
    """A transform that no preprocessing of ours equals; the text says why."""


@dataclass(slots=True)
class _Chain:
    """What the transforms so far amount to: statistics of the volume, then (x − mean) / std."""

    settings: dict[str, Any] = field(default_factory=dict)
    mean: float = 0.0
    std: float = 1.0
    window: Window | None = None
    grid: list[str] = field(default_factory=list)

    def affine(self, mean: float, std: float) -> None:
        """Append (x − mean) / std."""
        if not (math.isfinite(mean) and math.isfinite(std)) or std == 0:
            raise _NotOursError("it divides by zero")
        self.mean, self.std = self.mean + mean * self.std, self.std * std

    def statistic(self, name: str, value: Any, given: Mapping[str, Any]) -> None:
        """Append what shifts and scales by the volume's own intensities.

        Shifts and scales before it then change nothing.
        """
        if self.settings.keys() & {"clip", "percentiles"}:
            raise _NotOursError("it follows a clipping")
        if value == "nonzero" and (self.mean != 0 or self.settings.keys() & {"zscore", "minmax"}):
            raise _NotOursError("what is zero has been shifted before")
        self.settings.pop("zscore", None)
        self.settings.pop("minmax", None)
        self.settings[name] = value
        if given.get("channel_wise"):
            self.settings.pop("per", None)
        else:
            self.settings["per"] = "volume"
        self.mean, self.std = 0.0, 1.0


def mapped(
    transforms: Sequence[Mapping[str, Any]], window: Window | None, *, model: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Our preprocessing for a bundle's transforms.

    Args:
        transforms: Their configs, in order.
        window: The one that the run's volumes are prepared with, if it says one.
        model: The model's name, for messages.

    Returns:
        The settings, and the transforms that are left to the preparation of volumes.

    Raises:
        BenchError: For a transform that we cannot do.
    """
    chain = _Chain(window=window)
    for transform in transforms:
        target = str(transform.get("_target_", "?"))
        name = target.rpartition(".")[2].removesuffix("d").removesuffix("Dict")
        try:
            if name in _GRID:
                chain.grid.append(name)
            elif name not in _LOADING:
                _apply(name, transform, chain)
        except (_NotOursError, KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, _NotOursError) else "its arguments differ"
            raise BenchError(
                f"the bundle's {one_line(target)} has no equal here: {one_line(reason)}. Set "
                f"[model.{model}] preprocessing in a config file, {{}} for none."
            ) from error
    settings = chain.settings
    if chain.mean != 0:
        settings["mean"] = chain.mean
    if chain.std != 1:
        settings["std"] = chain.std
    return settings, tuple(chain.grid)


def _apply(name: str, given: Mapping[str, Any], chain: _Chain) -> None:
    if name not in _KNOWN:
        raise _NotOursError("it is not among those that are known")
    taken, apply = _KNOWN[name]
    usual = {"keys", "allow_missing_keys", "dtype", "_target_", "_desc_", "lazy"}
    if strange := given.keys() - usual - taken:
        raise _NotOursError(f"{min(strange)} is set")
    for key in taken & given.keys():
        for value in given[key] if isinstance(given[key], list) else [given[key]]:
            if isinstance(value, str) and value.startswith(("$", "@", "%")):
                raise _NotOursError(f"{key} is computed")
    apply(given, chain)


def _normalise(given: Mapping[str, Any], chain: _Chain) -> None:
    nonzero = bool(given.get("nonzero", False))
    subtrahend, divisor = given.get("subtrahend"), given.get("divisor")
    if subtrahend is None and divisor is None:
        chain.statistic("zscore", "nonzero" if nonzero else "all", given)
    elif nonzero or subtrahend is None or divisor is None:
        raise _NotOursError("it shifts some voxels only, or by one fixed number of two")
    elif "zscore" in chain.settings or "minmax" in chain.settings or _within(subtrahend, divisor):
        chain.affine(float(subtrahend), float(divisor))
    else:
        raise _NotOursError("its numbers are in the unit of the file, and volumes are in [0, 1]")


def _within(subtrahend: float, divisor: float) -> bool:
    return 0 <= float(subtrahend) <= 1 and 0 < float(divisor) <= 1


def _stretch(given: Mapping[str, Any], chain: _Chain) -> None:
    if given.get("factor") is not None or given.get("minv", 0.0) is None:
        raise _NotOursError("it multiplies by a factor")
    chain.statistic("minmax", True, given)
    _onto(float(given.get("minv", 0.0)), float(given.get("maxv", 1.0)), chain)


def _onto(low: float, high: float, chain: _Chain) -> None:
    """From [0, 1] to [low, high]."""
    if high <= low:
        raise _NotOursError("its range is empty")
    chain.affine(-low / (high - low), 1 / (high - low))


def _range(given: Mapping[str, Any], chain: _Chain) -> None:
    low, high = float(given["a_min"]), float(given["a_max"])
    clip = bool(given.get("clip", False))
    b_min, b_max = given.get("b_min"), given.get("b_max")
    window = chain.window
    if high <= low:
        raise _NotOursError("its range is empty")
    if not chain.settings and (chain.mean, chain.std) == (0, 1) and not 0 <= low < high <= 1:
        if window is None or (window.kind, window.low, window.high) != ("ct", low, high):
            raise _NotOursError(
                f"{low:g} to {high:g} are units of the file; prepare volumes with --window "
                f"ct:{(low + high) / 2:g},{high - low:g}, which does this"
            )
    else:
        if clip and (chain.settings or (chain.mean, chain.std) != (0, 1)):
            raise _NotOursError("it clips what was shifted before")
        if clip:
            chain.settings["clip"] = (low, high)
        chain.affine(low, high - low)
    if b_min is not None and b_max is not None:
        _onto(float(b_min), float(b_max), chain)


def _percentiles(given: Mapping[str, Any], chain: _Chain) -> None:
    if given.get("relative") or not given.get("clip"):
        raise _NotOursError("it does not clip, or is relative")
    if chain.settings.keys() - {"size", "resize"}:
        raise _NotOursError("it follows another")
    # What is clipped to its own percentiles has them as its ends.
    chain.statistic("minmax", True, given)
    chain.settings["percentiles"] = (float(given["lower"]), float(given["upper"]))
    _onto(float(given.get("b_min", 0)), float(given.get("b_max", 1)), chain)


def _resize(given: Mapping[str, Any], chain: _Chain) -> None:
    size = given["spatial_size"]
    sides = [int(n) for n in size]
    if len(sides) != 3 or len(set(sides)) != 1 or sides[0] < 1:
        raise _NotOursError("its axes may be in another order; only cubes are taken over")
    if chain.settings or (chain.mean, chain.std) != (0, 1):
        raise _NotOursError("it follows the intensities, and here the grid comes first")
    if given.get("mode", "area") not in ("trilinear", "area"):
        raise _NotOursError(f"its mode is {given['mode']}")
    if given.get("align_corners"):
        raise _NotOursError("it aligns corners")
    chain.settings["size"] = tuple(sides)
    if given.get("mode", "area") == "area":
        chain.settings["resize"] = "area"


def _repeat(given: Mapping[str, Any], chain: _Chain) -> None:
    chain.settings["repeat_channels"] = int(given["repeats"])


_KNOWN: dict[str, tuple[set[str], Callable[[Mapping[str, Any], _Chain], None]]] = {
    "NormalizeIntensity": ({"subtrahend", "divisor", "nonzero", "channel_wise"}, _normalise),
    "ScaleIntensity": ({"minv", "maxv", "factor", "channel_wise"}, _stretch),
    "ScaleIntensityRange": ({"a_min", "a_max", "b_min", "b_max", "clip"}, _range),
    "ScaleIntensityRangePercentiles": (
        {"lower", "upper", "b_min", "b_max", "clip", "relative", "channel_wise"},
        _percentiles,
    ),
    "Resize": ({"spatial_size", "mode", "align_corners"}, _resize),
    "RepeatChannel": ({"repeats"}, _repeat),
}
"""Transform → arguments that are understood, and what to do."""
