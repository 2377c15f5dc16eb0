"""How good a heat map is: whether it points at the structure, and how far it moves.

Pointing game: Zhang et al., "Top-Down Neural Attention by Excitation Backprop" (IJCV 2018); a map
hits when its peak lies inside the structure, here without any tolerance around it. Energy inside:
the energy-based pointing game of Wang et al., "Score-CAM" (CVPR workshops 2020), with the
structure's own voxels in place of its bounding box.

Everything is NumPy on maps (N, D, H, W) and masks of the same shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from benchharness import randomness, statistics
from benchharness.statistics import patients as by_patient
from benchharness.statistics.resampling import percentiles
from benchharness.store.heatmaps import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.statistics.basis import Patients

    Maps = NDArray[np.float32]
    Masks = NDArray[np.bool_]
    Floats = NDArray[np.float64]

BOX_SIDE = 0.5
"""Side of the centre box as a fraction of the field of view: an eighth of the volume."""

LEVEL = 0.95
RESAMPLES = 2000


def peaks(maps: Maps) -> NDArray[np.int64]:
    """Index (N, 3) of each map's greatest voxel; −1 where a map is 0 everywhere.

    Interpolated maps have plateaus: of several greatest voxels the one
    nearest to their mean counts.
    """
    found = np.full((len(maps), 3), -1, np.int64)
    for index, one in enumerate(maps):
        if one.max() > 0:
            places = np.argwhere(one == one.max())
            distances = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
            found[index] = places[distances.argmin()]
    return found


def hits(maps: Maps, masks: Masks) -> NDArray[np.bool_]:
    """Whether each map's peak lies inside the structure, (N,); an empty map misses."""
    found = peaks(maps)
    return np.asarray(
        [peak[0] >= 0 and mask[tuple(peak)] for peak, mask in zip(found, masks, strict=True)], bool
    )


def energy_inside(maps: Maps, masks: Masks) -> Floats:
    """Share of each map's sum that lies inside the structure, (N,) in [0, 1]; 0 if empty."""
    total = maps.sum(axis=(1, 2, 3), dtype=np.float64)
    inside = (maps * masks).sum(axis=(1, 2, 3), dtype=np.float64)
    found: Floats = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return found


def empty(maps: Maps) -> NDArray[np.bool_]:
    """Which maps (N,) are 0 everywhere: no channel of the layer supports the class."""
    return np.asarray(~maps.any(axis=(1, 2, 3)), bool)


def centre_box(grid: tuple[int, int, int]) -> Maps:
    """A map (1, D, H, W) that is 1 in a box around the centre, an axis of length 1 whole."""
    box = np.zeros((1, *grid), np.float32)
    edges = [round(size * (1 - BOX_SIDE) / 2) if size > 1 else 0 for size in grid]
    depth, height, width = (slice(e, size - e) for e, size in zip(edges, grid, strict=True))
    box[0, depth, height, width] = 1
    return box


def rank_correlation(first: Maps, second: Maps) -> Floats:
    """Spearman's correlation over voxels of each pair of maps, (N,); NaN where one is constant."""
    found = np.full(len(first), np.nan)
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            ranks = stats.rankdata(one.ravel()), stats.rankdata(other.ravel())
            found[index] = np.corrcoef(*ranks)[0, 1]
    return found


def centroid_shift(first: Maps, second: Maps) -> Floats:
    """Distance (N,) between the centroids of each pair of maps, in fields of view; NaN if empty.

    The field of view has length 1 along each axis, so the distance is at most √3.
    """
    shift: Floats = np.linalg.norm(_centroids(first) - _centroids(second), axis=1)
    return shift


def _centroids(maps: Maps) -> Floats:
    """(N, 3), in fractions of the field of view; NaN for an empty map."""
    weights = maps.astype(np.float64)
    total = weights.sum(axis=(1, 2, 3))
    found = np.full((len(maps), 3), np.nan)
    for axis in range(3):
        others = tuple(1 + other for other in range(3) if other != axis)
        profile = weights.sum(axis=others)
        centres = (np.arange(maps.shape[1 + axis]) + 0.5) / maps.shape[1 + axis]
        np.divide(profile @ centres, total, out=found[:, axis], where=total > 0)
    return found


def share(counted: NDArray[np.bool_], patients: Patients | None = None) -> Estimate:
    """The share of True among (N,) volumes, of these patients (N,) where they are known."""
    found = statistics.rate(counted, LEVEL, patients=patients)
    interval = found.interval
    return Estimate(
        value=found.value, low=interval.low, high=interval.high, n=found.n, method=interval.method
    )


def mean(values: NDArray[Any], patients: Patients | None = None) -> Estimate:
    """The mean of (N,) numbers, NaN left out, with a percentile bootstrap.

    Whole patients are resampled where the patient of each volume, (N,), is known.
    """
    known = np.asarray(values, np.float64)
    kept = ~np.isnan(known)
    known = known[kept]
    n = len(known)
    grouped = None if patients is None else by_patient.with_several_volumes(patients[kept])
    if grouped is not None:
        return _mean_over_patients(known, grouped)
    if n < 2:
        value = float(known[0]) if n else None
        return Estimate(value=value, low=None, high=None, n=n, method="too few volumes")
    generator = randomness.numpy_generator("explanation", "bootstrap", n)
    means = known[generator.integers(n, size=(RESAMPLES, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(
        value=float(known.mean()),
        low=float(low),
        high=float(high),
        n=n,
        method="bootstrap over volumes",
    )


def _mean_over_patients(values: Floats, patients: Patients) -> Estimate:
    value, count = float(values.mean()), by_patient.count(patients)
    if count < 2:
        return Estimate(value=value, low=None, high=None, n=len(values), method="too few patients")
    low, high = percentiles(by_patient.resample_mean(values, patients), LEVEL)
    return Estimate(
        value=value, low=low, high=high, n=len(values), method=f"bootstrap over {count} patients"
    )
