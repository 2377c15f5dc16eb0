"""The embedded phantom: grey-level volumes of a structure in noisy tissue, made in seconds.

Four classes differ in the shape of one structure and in the grain of its texture:

| class | shape | grain |
|---|---|---|
| `nodule` | a ball | coarse |
| `cyst` | a spherical shell | fine |
| `ring` | a torus | fine |
| `branching` | three crossing rods | coarse |

Nothing else depends on the class. For the same drawn size the four shapes have the same volume, and
contrast and strength of texture have the same distribution, so neither the histogram nor the mean
tells them apart. Position and orientation vary, so no single voxel does. A scene is defined in
continuous coordinates over a field of view of [0, 1] per axis and then sampled: the volumes of one
index at 28 and at 64 voxels show the same scene, and only the voxel noise differs.

The draws of a volume come from a hash of its name. Everything is computed in float64 by elementary
arithmetic, without BLAS or FFT. Quantising to uint8 at the end absorbs differences in the last
bits, so the arrays are the same on every machine.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.errors import BenchError, unknown_name
from benchharness.randomness import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Labels = np.ndarray[Any, np.dtype[np.int64]]
    Masks = np.ndarray[Any, np.dtype[np.bool_]]
    Distance = Callable[[Floats, Floats, Floats, float], Floats]

VERSION = 1
"""Raised when the same names start to mean other voxels."""

CLASSES: tuple[str, ...] = ("nodule", "cyst", "ring", "branching")
SPLIT_SIZES: dict[str, int] = {"train": 512, "val": 128, "test": 128}

# Lengths are fractions of the field of view, intensities fractions of the range of uint8. A pair is
# the range of a uniform draw.
_RADIUS = (0.19, 0.25)  # of the ball that has the structure's volume
_SHIFT = (-0.15, 0.15)  # of the structure's centre from that of the field of view, per axis
_CONTRAST = (0.26, 0.42)  # of the structure against the tissue
_LEVEL = (0.20, 0.50)  # of the tissue
_NOISE = (0.04, 0.07)  # standard deviation per voxel
_BACKGROUND = 0.07  # standard deviation of the slow variation of the tissue
_TISSUE = 0.03  # standard deviation of the texture of the tissue
_TEXTURE = 0.30  # standard deviation of the texture of the structure, as a fraction of its contrast
_EDGE = 1 / 28  # width of the ramp from outside to inside

# Cells per axis of the lattices under the smooth random fields: more cells, finer grain.
_BACKGROUND_CELLS = 3
_TISSUE_CELLS = 10
_COARSE_CELLS = 5
_FINE_CELLS = 13

# Of a cubic B-spline field over unit normals: the squared spline integrates to 151 / 315 per axis.
_SPLINE_DEVIATION = (151 / 315) ** 1.5


def volumes(split: str, size: int, *, structure: bool = True) -> tuple[Bytes, Labels, Masks]:
    """Make all volumes of a split.

    Args:
        split: `"train"`, `"val"` or `"test"`.
        size: Voxels per axis, at least 1.
        structure: False leaves out the structure and changes no other voxel, so nothing in the
            volume tells the class.

    Returns:
        Volumes `(N, size, size, size)`, alternating class indices `(N,)`, and masks
        `(N, size, size, size)` that are true inside the structure, shown or not.

    Raises:
        BenchError: If the split is unknown or the size is below 1.
    """
    if split not in SPLIT_SIZES:
        raise unknown_name("split", split, SPLIT_SIZES)
    if size < 1:
        raise BenchError(
            f"a phantom's size must be at least 1 voxel per axis, got {size}. Take 28."
        )
    count = SPLIT_SIZES[split]
    shape = (count, size, size, size)
    images, masks = np.empty(shape, np.uint8), np.empty(shape, np.bool_)
    # Each volume depends only on its name, so threads change no bit of it.
    with ThreadPoolExecutor() as threads:
        made = threads.map(lambda i: _render(split, i, size, structure=structure), range(count))
        for index, (image, mask) in enumerate(made):
            images[index], masks[index] = image, mask
    return images, np.arange(count, dtype=np.int64) % len(CLASSES), masks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What is drawn for one volume besides its random fields."""

    radius: float
    centre: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...]
    contrast: float
    level: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anatomy:
    """What a scene holds before any scanner sees it, on a grid `(size, size, size)`.

    Every rendering of a name begins with this, so all of them show the same scene.
    """

    tissue: Floats
    """The phantom's own grey value of the tissue without structure: mean 0.35, mostly 0 to 0.7."""
    structure: Floats
    """How much the structure adds to it: its contrast times its texture, 0 outside."""
    mask: Masks
    """Voxels whose centre lies inside the structure."""
    noise: float
    """Standard deviation of the phantom's own noise."""


def anatomy(split: str, index: int, size: int) -> _Anatomy:
    """Sample one scene on a grid; each part has its own generator, so no draw shifts another."""
    name = ("phantom3d", VERSION, split, index)
    kind = CLASSES[index % len(CLASSES)]
    scene = _scene(numpy_generator(*name, "scene"))
    distance = _signed_distance(kind, scene, size)
    tissue = scene.level + _BACKGROUND * smooth_field(
        numpy_generator(*name, "background"), size, _BACKGROUND_CELLS
    )
    tissue += _TISSUE * smooth_field(numpy_generator(*name, "tissue"), size, _TISSUE_CELLS)
    grain = smooth_field(numpy_generator(*name, "grain"), size, _GRAINS[kind])
    inside = np.clip(0.5 - distance / _EDGE, 0, 1)
    return _Anatomy(
        tissue=tissue,
        structure=inside * scene.contrast * (1 + _TEXTURE * grain),
        mask=distance < 0,
        noise=scene.noise,
    )


def _render(split: str, index: int, size: int, *, structure: bool) -> tuple[Bytes, Masks]:
    """The phantom's own rendering: grey values with white noise."""
    scene = anatomy(split, index, size)
    image = scene.tissue + scene.structure if structure else scene.tissue
    noise = numpy_generator("phantom3d", VERSION, split, index, "noise", size)
    image = image + scene.noise * noise.standard_normal(image.shape)
    return to_bytes(image), scene.mask


def to_bytes(image: Floats) -> Bytes:
    """Clip to [0, 1] and quantise."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _scene(generator: np.random.Generator) -> _Scene:
    radius = generator.uniform(*_RADIUS)
    depth, height, width = (0.5 + float(shift) for shift in generator.uniform(*_SHIFT, 3))
    contrast = generator.uniform(*_CONTRAST)
    level = generator.uniform(*_LEVEL)
    noise = generator.uniform(*_NOISE)
    return _Scene(
        radius=radius,
        centre=(depth, height, width),
        rotation=_rotation(generator),
        contrast=contrast,
        level=level,
        noise=noise,
    )


def _rotation(generator: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """A uniformly random rotation matrix, from a normalised quaternion of four normals."""
    draws = [float(draw) for draw in generator.standard_normal(4)]
    norm = math.sqrt(sum(draw * draw for draw in draws))
    w, a, b, c = (draw / norm for draw in draws)
    return (
        (1 - 2 * (b * b + c * c), 2 * (a * b - c * w), 2 * (a * c + b * w)),
        (2 * (a * b + c * w), 1 - 2 * (a * a + c * c), 2 * (b * c - a * w)),
        (2 * (a * c - b * w), 2 * (b * c + a * w), 1 - 2 * (a * a + b * b)),
    )


def _signed_distance(kind: str, scene: _Scene, size: int) -> Floats:
    """Distance of each voxel's centre from the structure's surface, negative inside."""
    centres = (np.arange(size) + 0.5) / size
    z = (centres - scene.centre[0])[:, None, None]
    y = (centres - scene.centre[1])[None, :, None]
    x = (centres - scene.centre[2])[None, None, :]
    turned = [row[0] * z + row[1] * y + row[2] * x for row in scene.rotation]
    return _SHAPES[kind](turned[0], turned[1], turned[2], scene.radius)


def smooth_field(generator: np.random.Generator, size: int, cells: int) -> Floats:
    """A smooth random field `(size, size, size)` of mean 0 and standard deviation 1 over draws."""
    nodes = cells + 3
    field = generator.standard_normal((nodes, nodes, nodes))
    basis = _spline_basis(size, cells)
    field = np.einsum("zi,ijk->zjk", basis, field)
    field = np.einsum("yj,zjk->zyk", basis, field)
    field = np.einsum("xk,zyk->zyx", basis, field)
    scaled: Floats = field / _SPLINE_DEVIATION
    return scaled


def _spline_basis(size: int, cells: int) -> Floats:
    """Weights `(size, cells + 3)` of the lattice's nodes at voxel centres: cubic B-splines."""
    positions = (np.arange(size) + 0.5) / size * cells
    nodes = np.arange(cells + 3) - 1.0
    t = np.abs(positions[:, None] - nodes[None])
    near, far = 2 / 3 - t * t + t * t * t / 2, (2 - t) * (2 - t) * (2 - t) / 6
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _ball(z: Floats, y: Floats, x: Floats, radius: float) -> Floats:
    distance: Floats = np.sqrt(z * z + y * y + x * x) - radius
    return distance


def _shell(z: Floats, y: Floats, x: Floats, radius: float) -> Floats:
    """A shell with an inner radius of 0.7 times the outer, as large as the ball."""
    outer = radius / (1 - 0.7**3) ** (1 / 3)
    middle, half = 0.85 * outer, 0.15 * outer
    distance: Floats = np.abs(np.sqrt(z * z + y * y + x * x) - middle) - half
    return distance


def _torus(z: Floats, y: Floats, x: Floats, radius: float) -> Floats:
    """A torus as large as the ball: 2π²·major·minor², the minor radius 0.38 times the major."""
    major = radius * (2 / (3 * math.pi * 0.38**2)) ** (1 / 3)
    off_circle = np.sqrt(y * y + x * x) - major
    distance: Floats = np.sqrt(off_circle * off_circle + z * z) - 0.38 * major
    return distance


def _rods(z: Floats, y: Floats, x: Floats, radius: float) -> Floats:
    """Three orthogonal rods of radius a and length 8a, together as large as the ball.

    By inclusion and exclusion: three cylinders of 8πa³, minus three bicylinders of 16/3·a³, plus
    the tricylinder of 8(2 − √2)·a³ that all three share.
    """
    a = radius * (4 / 3 * math.pi / (24 * math.pi - 16 + 8 * (2 - math.sqrt(2)))) ** (1 / 3)
    zz, yy, xx = z * z, y * y, x * x
    along_z = np.maximum(np.sqrt(yy + xx) - a, np.abs(z) - 4 * a)
    along_y = np.maximum(np.sqrt(zz + xx) - a, np.abs(y) - 4 * a)
    along_x = np.maximum(np.sqrt(yy + zz) - a, np.abs(x) - 4 * a)
    distance: Floats = np.minimum(np.minimum(along_z, along_y), along_x)
    return distance


_SHAPES: dict[str, Distance] = {"nodule": _ball, "cyst": _shell, "ring": _torus, "branching": _rods}
_GRAINS = {
    "nodule": _COARSE_CELLS,
    "cyst": _FINE_CELLS,
    "ring": _FINE_CELLS,
    "branching": _COARSE_CELLS,
}
