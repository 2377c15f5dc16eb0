"""What every reader of volumes shares: the header, what is wanted of the voxels, checksums."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Affine = NDArray[np.float64]
    Voxels = NDArray[np.generic]

Wanted = Literal["none", "float32", "exact"]
"""What to read of the voxels; exact leaves numbers that float32 would round as they are stored."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's and ITK's axes point to left and posterior, ours to right and anterior."""

BLOCK = 1 << 20
"""Bytes that are unpacked at once."""

_ORTHOGONAL = 1e-3
"""Cosine of two axes: what headers round. A gantry is tilted by degrees."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """The grid of a volume, with its axes as stored."""

    shape: tuple[int, ...]
    """(X, Y, Z), or (X, Y, Z, C) of several channels or time points; a `.npy`'s own axes."""
    affine: Affine | None
    """From voxel indices to RAS+ millimetres, (4, 4); None where the format has none."""
    units: tuple[str, ...] = ()
    """Units other than millimetres that the file states; the affine is converted already."""
    time: str = ""
    """What the header says of a fourth axis that is time, such as `one every 2 s`."""

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size of the field of view, (D, H, W) in mm, or in voxels where there is no affine.

        D, H and W are the axes nearest to inferior-superior, posterior-anterior and left-right.
        """
        if self.affine is None:
            depth, height, width = self.shape
            return float(depth), float(height), float(width)
        from nibabel.orientations import io_orientation

        shape = np.asarray(self.shape[:3])
        affine = upright(self.affine) if is_sheared(self.affine) else self.affine
        spacings = np.sqrt(np.square(affine[:3, :3]).sum(axis=0))
        counts = shape if affine is self.affine else _box(self.affine, affine, shape)
        axes = np.asarray(io_orientation(affine))[:, 0].astype(int).tolist()  # type: ignore[no-untyped-call]
        by_axis = {a: float(n * s) for a, n, s in zip(axes, counts, spacings, strict=True)}
        return by_axis[2], by_axis[1], by_axis[0]


def is_sheared(affine: Affine) -> bool:
    """Whether slices are shifted against each other, as those of a tilted gantry are."""
    axes = affine[:3, :3] / np.sqrt(np.square(affine[:3, :3]).sum(axis=0))
    off = np.abs(axes.T @ axes - np.eye(3))
    return bool(off.max() > _ORTHOGONAL)


def upright(affine: Affine) -> Affine:
    """The affine of the same volume with axes at right angles: that of slices becomes their normal.

    The distance of neighbouring slices is then what it is along the normal.
    """
    found = affine.copy()
    columns = affine[:3, :3]
    normal = np.cross(columns[:, 0], columns[:, 1])
    normal /= np.sqrt(np.square(normal).sum())
    rows = columns[:, 0] / np.sqrt(np.square(columns[:, 0]).sum())
    found[:3, 1] = np.cross(normal, rows) * np.sqrt(np.square(columns[:, 1]).sum())
    found[:3, 2] = normal * float(normal @ columns[:, 2])
    return found


def _box(affine: Affine, straight: Affine, shape: NDArray[np.int64]) -> NDArray[np.float64]:
    """Voxels along each straight axis that hold a whole sheared volume."""
    ends = [(-0.5, count - 0.5) for count in shape.tolist()]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    placed = np.linalg.solve(straight[:3, :3], affine[:3, :3] @ corners.T)
    found: NDArray[np.float64] = placed.max(axis=1) - placed.min(axis=1)
    return found


def verify_gzip(stream: IO[bytes]) -> None:
    """Read a gzip stream to its end; gzip then compares checksum and length of all members."""
    with gzip.GzipFile(fileobj=stream) as content:
        while content.read(BLOCK):
            pass
