"""The task of the zoo: tell a ball, a box, a ring and a cross apart in noisy volumes of 12³."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from benchharness.datasets.base import Dataset, Split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 12
CLASSES = ("ball", "box", "ring", "cross")
COUNTS = {"train": 1024, "val": 64, "test": 64}
CONTRAST = 0.3
NOISE = 0.06


@cache
def shapes(root: Path | None = None) -> Dataset:
    """The dataset as `bench run` takes it; it needs no files."""
    splits = {name: _split(name, seed) for seed, name in enumerate(COUNTS)}
    digest = hashlib.sha256(b"".join(one.volumes.tobytes() for one in splits.values()))
    return Dataset(
        name="shapes",
        classes=CLASSES,
        modality="phantom",
        digest=f"sha256:{digest.hexdigest()}",
        default_recipe="quick",
        **splits,
    )


def _split(name: str, seed: int) -> Split:
    draws = np.random.Generator(np.random.PCG64(seed))
    labels = np.arange(COUNTS[name]) % len(CLASSES)
    volumes = np.stack([_volume(draws, label) for label in labels.tolist()])
    return Split(
        ids=tuple(f"shapes/{name}/{index}" for index in range(len(labels))),
        volumes=volumes[:, None],
        labels=labels.astype(np.int64),
    )


def _volume(draws: np.random.Generator, label: int) -> NDArray[np.uint8]:
    """A shape at a random place, on a slope of brightness, in noise."""
    grid = np.stack(np.meshgrid(*3 * [np.arange(SIZE)], indexing="ij")).astype(float)
    place = grid - draws.uniform(4, SIZE - 5, (3, 1, 1, 1))
    size = draws.uniform(2.6, 3.6)
    distance = np.linalg.norm(place, axis=0)
    sides = np.sort(np.abs(place), axis=0)
    inside = {
        "ball": distance < size,
        "box": sides[2] < 0.8 * size,
        "ring": (distance < 1.15 * size) & (distance > 0.6 * size),
        "cross": (sides[1] < 0.3 * size) & (sides[2] < 1.5 * size),
    }[CLASSES[label]]
    slope = np.tensordot(draws.uniform(-0.01, 0.01, 3), grid - SIZE / 2, 1)
    volume = draws.uniform(0.35, 0.5) + slope + draws.normal(0, NOISE, inside.shape)
    return (255 * np.clip(volume + CONTRAST * inside, 0, 1)).round().astype(np.uint8)
