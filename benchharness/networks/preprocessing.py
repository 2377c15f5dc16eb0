"""What happens to a [0, 1] volume before the network sees it.

Perturbations act before any preprocessing, so ε means the same for every model and dataset, and
gradients flow through all of it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn import functional as F

from benchharness import registry
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError, CellError, unknown_name
from benchharness.networks import normalising

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What happens between a [0, 1] volume and the network, in the order of these fields.

    `resize` and `per` say how some of the others work; they change nothing alone.
    """

    size: tuple[int, int, int] | None = None
    """Grid (D, H, W) to resize to; None keeps the volume's."""
    resize: Literal["trilinear", "area"] = "trilinear"
    """How: by linear interpolation, or by the mean of the voxels that a new one covers."""
    clip: tuple[float, float] | None = None
    """Intensities are clipped to these bounds."""
    percentiles: tuple[float, float] | None = None
    """Each volume is clipped to these percentiles of its own, from 0 to 100."""
    minmax: bool = False
    """Whether each volume's intensities are mapped to 0..1."""
    zscore: Literal["all", "nonzero"] | None = None
    """Each volume's mean becomes 0 and its standard deviation 1: of all voxels, or of those that
    are not zero, in which case zeros stay zero."""
    per: Literal["channel", "volume"] = "channel"
    """Whether percentiles, minmax and zscore are of each channel, or of all channels together."""
    scale: float = 1.0
    """Factor on the intensities; the official protocol for shape datasets evaluates with 0.5."""
    repeat_channels: int = 1
    """The channels are repeated this many times; the factory is called with that many."""
    mean: float | tuple[float, ...] = 0.0
    """Subtracted; one number, or one for each channel that the network sees."""
    std: float | tuple[float, ...] = 1.0
    """Divided by; likewise."""
    callable: str | None = None
    """`module:function` from (B, C, D, H, W) to what the network takes, called last."""

    def __call__(self, volumes: Tensor) -> Tensor:
        """Map volumes (B, C, D, H, W) in [0, 1] to what the network was trained on.

        Raises:
            CellError: If the user's function returns something else than as many volumes.
        """
        if self.size is not None and tuple(volumes.shape[2:]) != self.size:
            corners = {} if self.resize == "area" else {"align_corners": False}
            volumes = F.interpolate(volumes, self.size, mode=self.resize, **corners)
        volumes = self._normalised(volumes)
        if self.scale != 1.0:
            volumes = volumes * self.scale
        if self.repeat_channels != 1:
            volumes = volumes.repeat(1, self.repeat_channels, 1, 1, 1)
        if self.mean != 0.0 or self.std != 1.0:
            volumes = (volumes - _by_channel(self.mean, volumes)) / _by_channel(self.std, volumes)
        return volumes if self.callable is None else _called(self.callable, volumes)

    def _normalised(self, volumes: Tensor) -> Tensor:
        axes = (2, 3, 4) if self.per == "channel" else (1, 2, 3, 4)
        if self.clip is not None:
            volumes = volumes.clamp(*self.clip)
        if self.percentiles is not None:
            volumes = normalising.clip_to_percentiles(volumes, axes, *self.percentiles)
        if self.minmax:
            volumes = normalising.minmax(volumes, axes)
        if self.zscore is not None:
            volumes = normalising.zscore(volumes, axes, nonzero=self.zscore == "nonzero")
        return volumes

    def channels(self, of_volumes: int) -> int:
        """Channels that the network sees of volumes with some."""
        return of_volumes * self.repeat_channels

    def check_channels(self, of_volumes: int, dataset: str) -> None:
        """Refuse one mean or standard deviation a channel for another number of channels.

        Raises:
            BenchError: When they do not match those of a dataset's volumes.
        """
        seen = self.channels(of_volumes)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if isinstance(values, tuple) and len(values) != seen:
                raise BenchError(
                    f"preprocessing {name!r} has {len(values)} numbers, and the network sees "
                    f"{seen} channels of {dataset}. Write one a channel, or a single number, or "
                    "set repeat_channels."
                )

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
            BenchError: If a setting is unknown, its value of the wrong kind, or without effect, or
                there is no such function.
        """
        for name in settings:
            if name not in _SETTINGS:
                raise unknown_name("preprocessing", name, _SETTINGS)
        read = {name: _read(name, value) for name, value in settings.items()}
        made = cls(**read)
        for name, needed in _MODIFIERS.items():
            nothing = cls()
            if name in read and all(getattr(made, n) == getattr(nothing, n) for n in needed):
                raise BenchError(
                    f"preprocessing {name!r} does nothing without {' or '.join(needed)}. Add one "
                    "of these, or take it out."
                )
        if made.callable is not None:
            _function(made.callable)
        return made


def _by_channel(values: float | tuple[float, ...], volumes: Tensor) -> float | Tensor:
    if not isinstance(values, tuple):
        return values
    return _factors(values, volumes.device, volumes.dtype)


@lru_cache(maxsize=32)
def _factors(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers of channels, (1, C, 1, 1, 1); kept, for they would be sent to a GPU at every pass."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device, dtype=dtype).view(1, -1, 1, 1, 1)


@cache
def _function(target: str) -> Callable[[Tensor], object]:
    found: Any = registry.import_target(target)
    if not callable(found):
        raise BenchError(f"preprocessing 'callable' names {target!r}, which is no function.")
    return found  # type: ignore[no-any-return]


def _called(target: str, volumes: Tensor) -> Tensor:
    made = _function(target)(volumes)
    if not isinstance(made, torch.Tensor) or made.ndim < 1 or len(made) != len(volumes):
        got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise CellError(f"{target} returned {got} for {len(volumes)} volumes; expected as many")
    return made


def _number(value: object) -> float | None:
    right = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    # 2 and 2.0 are one setting and must give one identity.
    return float(value) if right else None  # type: ignore[arg-type]


def _numbers(value: object) -> float | tuple[float, ...] | None:
    if not isinstance(value, tuple):
        return _number(value)
    found = tuple(number for item in value if (number := _number(item)) is not None)
    if not found or len(found) < len(value):
        return None
    return found[0] if len(found) == 1 else found


def _divisors(value: object) -> float | tuple[float, ...] | None:
    found = _numbers(value)
    return None if found == 0 or (isinstance(found, tuple) and 0 in found) else found


def _bounds(value: object) -> tuple[float, float] | None:
    found = _numbers(value)
    if not isinstance(found, tuple) or len(found) != 2 or found[0] >= found[1]:
        return None
    return (found[0], found[1])


def _percentiles(value: object) -> tuple[float, float] | None:
    found = _bounds(value)
    return found if found is not None and found[0] >= 0 and found[1] <= 100 else None


def _grid(value: object) -> tuple[int, int, int] | None:
    right = isinstance(value, tuple) and len(value) == 3
    right = right and all(type(n) is int and n > 0 for n in value)  # type: ignore[attr-defined]
    return value if right else None  # type: ignore[return-value]


def _one_of(*words: str) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in words else None


_SETTINGS: Mapping[str, tuple[Callable[[object], Any], str]] = {
    "size": (_grid, "size = [28, 28, 28]"),
    "resize": (_one_of("trilinear", "area"), 'resize = "trilinear" or "area"'),
    "clip": (_bounds, "clip = [0.1, 0.9], the smaller first"),
    "percentiles": (_percentiles, "percentiles = [0.5, 99.5], from 0 to 100"),
    "minmax": (lambda value: value if isinstance(value, bool) else None, "minmax = true"),
    "zscore": (_one_of("all", "nonzero"), 'zscore = "all" or "nonzero"'),
    "per": (_one_of("channel", "volume"), 'per = "channel" or "volume"'),
    "scale": (_number, "a number for scale"),
    "repeat_channels": (
        lambda value: value if type(value) is int and value > 0 else None,
        "repeat_channels = 3",
    ),
    "mean": (_numbers, "a number for mean, or one a channel: mean = [0.48, 0.46, 0.41]"),
    "std": (_divisors, "a number for std, or one a channel, none of them 0"),
    "callable": (
        lambda value: value if isinstance(value, str) else None,
        'callable = "my_package.nets:normalise"',
    ),
}
"""How to read each setting, None where it is wrong, and what to write instead."""

_MODIFIERS = {"resize": ("size",), "per": ("percentiles", "minmax", "zscore")}
"""Settings that only say how others work."""


def _read(name: str, value: object) -> Any:
    parse, hint = _SETTINGS[name]
    read = parse(value)
    if read is None:
        raise BenchError(f"preprocessing {name!r} cannot be {value!r}. Write {hint}.")
    return read
