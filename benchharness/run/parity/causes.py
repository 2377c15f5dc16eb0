"""What commonly differs between two pipelines that should give a network the same volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchharness.datasets import Dataset

    Volumes = NDArray[Any]

_AXES = ("depth", "height", "width")
_FEW_CHANNELS = 4
"""Most channels of which every order is tried."""
_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that the other pipeline may have done otherwise."""

    words: str
    """What it did, as a clause: `the depth axis is flipped`."""
    remedy: str
    """What to do here, in one sentence."""
    turn: Callable[[Volumes], Volumes] = lambda volumes: volumes
    """What is done to volumes (N, C, D, H, W) before anything else."""
    preprocessing: Preprocessing | None = None
    """In place of the one that is configured; None keeps that."""


def simple(model: str, configured: Preprocessing, dataset: Dataset) -> Iterator[Cause]:
    """Single causes, the likeliest first."""
    yield from _normalisations(model, configured, dataset)
    yield from (_flipped((axis,)) for axis in range(3))
    yield from _channels(dataset.in_channels)
    yield from (_flipped(axes) for count in (2, 3) for axes in combinations(range(3), count))
    yield from (_permuted(order) for order in permutations(range(3)) if order != (0, 1, 2))


def compound(model: str, configured: Preprocessing, dataset: Dataset) -> Iterator[Cause]:
    """Two causes at once: axes permuted and flipped, or one of either and another normalisation."""
    flips = [_flipped(axes) for count in (1, 2, 3) for axes in combinations(range(3), count)]
    orders = [_permuted(order) for order in permutations(range(3)) if order != (0, 1, 2)]
    yield from (_both(first, second) for first in orders for second in flips)
    turned = [*flips, *_channels(dataset.in_channels), *orders]
    for normalised in _normalisations(model, configured, dataset):
        yield from (_both(turning, normalised) for turning in turned)


def _both(first: Cause, second: Cause) -> Cause:
    return Cause(
        words=f"{first.words}, and {second.words}",
        remedy=f"{first.remedy} {second.remedy}",
        turn=lambda volumes: second.turn(first.turn(volumes)),
        preprocessing=second.preprocessing or first.preprocessing,
    )


def _flipped(axes: tuple[int, ...]) -> Cause:
    places = tuple(axis + 2 for axis in axes)
    named = " and ".join(_AXES[axis] for axis in axes)
    several = "axes are" if len(axes) > 1 else "axis is"
    dims = ", ".join(map(str, places))
    return Cause(
        words=f"the {named} {several} flipped",
        remedy=_turning(f"volumes.flip({dims})"),
        turn=lambda volumes: np.flip(volumes, places),
    )


def _permuted(order: tuple[int, ...]) -> Cause:
    places = (0, 1, *(axis + 2 for axis in order))
    named = ", ".join(_AXES[axis] for axis in order)
    return Cause(
        words=f"the axes are in the order {named}",
        remedy=_turning(f"volumes.permute{places}"),
        turn=lambda volumes: np.transpose(volumes, places),
    )


def _channels(channels: int) -> Iterator[Cause]:
    usual = tuple(range(channels))
    orders = permutations(usual) if channels <= _FEW_CHANNELS else [usual[::-1]]
    for order in orders:
        if order != usual:
            yield _channels_ordered(order)


def _channels_ordered(order: tuple[int, ...]) -> Cause:
    return Cause(
        words=f"the channels are in the order {list(order)}",
        remedy=_turning(f"volumes[:, {list(order)}]"),
        turn=lambda volumes: volumes[:, list(order)],
    )


def _turning(expression: str) -> str:
    return (
        f"Give the dataset that orientation, or write 'def turned(volumes): return {expression}' "
        'into a module of yours and set preprocessing = { callable = "module:turned" }.'
    )


def _normalisations(model: str, configured: Preprocessing, dataset: Dataset) -> Iterator[Cause]:
    """Other settings of intensities on the same grid and with the same function of the user."""
    bare = Preprocessing(
        size=configured.size,
        resize=configured.resize,
        repeat_channels=configured.repeat_channels,
        callable=configured.callable,
    )
    for words, settings in _settings(bare.channels(dataset.in_channels), dataset):
        made = replace(bare, **settings)
        if made != configured:
            said = ", ".join(f"{name} = {_toml(value)}" for name, value in made.to_pairs())
            what = f"preprocessing = {{ {said} }}" if said else "no preprocessing"
            yield Cause(
                words=words,
                remedy=f"Write {what} under [model.{model}] of a config file.",
                preprocessing=made,
            )


def _settings(channels: int, dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "intensities are not normalised", {}
    yield "each volume is z-scored", {"zscore": "all"}
    yield "each volume's non-zero voxels are z-scored", {"zscore": "nonzero"}
    yield "each volume is scaled to 0..1", {"minmax": True}
    yield "intensities go from 0 to 255", {"scale": 255.0}
    yield "intensities go from −1 to 1", {"mean": 0.5, "std": 0.5}
    mean, std = _of_training(dataset)
    if all(std) and (len(mean) == channels or len(mean) == 1):
        flat = len(mean) == 1
        yield (
            "the training set's mean and standard deviation are used",
            {"mean": mean[0] if flat else mean, "std": std[0] if flat else std},
        )
    if channels == 3:
        yield "ImageNet's mean and standard deviation are used", _IMAGENET
    yield "each volume is halved, as in MedMNIST's protocol for shapes", {"scale": 0.5}
    yield "a mean of 0.5 and a standard deviation of 0.25 are used", {"mean": 0.5, "std": 0.25}
    clipped = {"percentiles": (0.5, 99.5)}
    yield "each volume is clipped and z-scored, as by nnU-Net", {**clipped, "zscore": "all"}
    yield "each volume is clipped and scaled to 0..1", {**clipped, "minmax": True}
    if dataset.in_channels > 1:
        whole = {"per": "volume"}
        yield "all channels of a volume are z-scored together", {"zscore": "all", **whole}
        yield (
            "the non-zero voxels of all channels are z-scored together",
            {"zscore": "nonzero", **whole},
        )
        yield "all channels of a volume are scaled to 0..1 together", {"minmax": True, **whole}


def _of_training(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of the training volumes, in [0, 1]."""
    volumes = dataset.train.volumes
    largest = float(np.iinfo(volumes.dtype).max)
    means, stds = [], []
    for channel in range(volumes.shape[1]):
        # Volume by volume, since a set may be larger than the memory.
        moments = np.asarray(
            [(one.mean(), np.square(one).mean()) for v in volumes for one in [v[channel] / largest]]
        ).mean(0)
        means.append(float(moments[0]))
        stds.append(float(np.sqrt(max(0.0, moments[1] - moments[0] ** 2))))
    return tuple(means), tuple(stds)


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
