"""Batched torch implementations of the most expensive artefacts, for any device.

Each makes the same draws as its TorchIO counterpart and equals it to 1e-4. None needs a Fourier
transform: what TorchIO does in k-space acts along one axis, or at single points, and has a closed
form. The bits differ, so a cell made with them has a different identity (`Artefact.identity`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from benchharness import randomness
from benchharness.artefacts import mr
from benchharness.artefacts.base import Artefact, check_input, check_output, finished
from benchharness.outside.containment import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Generator, Tensor

    Implementation = Callable[[Any, Tensor, int, Sequence[Generator]], Tensor]

NAME = "torch"
"""Their name in an identity."""


def available(artefact: Artefact) -> bool:
    """Whether an artefact has a batched implementation."""
    return type(artefact) in IMPLEMENTATIONS


def corrupt(
    artefact: Artefact, volumes: Tensor, *, severity: int, ids: Sequence[str], seed: int
) -> tuple[Tensor, Tensor]:
    """Corrupt a batch on its device.

    Args:
        artefact: One for which `available` holds.
        volumes: Shape (B, C, D, H, W), float32 in [0, 1]; never changed.
        severity: Level, 1 to 5.
        ids: B names.
        seed: Perturbation seed.

    Returns:
        Corrupted volumes in steps of 1 / 65535, and the fraction of clipped voxels, (B,).

    Raises:
        BenchError: As `Artefact.__call__`.
        CellError: As `Artefact.__call__`.
    """
    artefact.level(severity)
    if not _sound(volumes):
        for volume, name in zip(volumes.cpu(), ids, strict=True):
            check_input(volume, f"artefact {artefact.name!r}, volume {name!r}")
    generators = [randomness.torch_generator(name, artefact.name, severity, seed) for name in ids]
    with contained(), torch.no_grad():
        made = IMPLEMENTATIONS[type(artefact)](artefact, volumes, severity, generators)
    if not _whole(made, volumes):
        for before, after, name in zip(volumes.cpu(), made.cpu(), ids, strict=True):
            where = f"artefact {artefact.name!r} at level {severity}, volume {name!r}"
            check_output(after, before, where)
    rounded, outside = finished(made)
    return rounded, outside.flatten(1).double().mean(dim=1)


def _sound(volumes: Tensor) -> bool:
    """Whether no volume of a batch is one that `check_input` might refuse; one look for all."""
    if volumes.ndim != 5 or volumes.dtype != torch.float32 or volumes.numel() == 0:
        return False
    low, high = volumes.flatten(1).aminmax(dim=1)
    return bool(((low >= 0) & (high > 0) & (high <= 1)).all())


def _whole(made: Tensor, volumes: Tensor) -> bool:
    """Whether no volume of a batch is one that `check_output` might refuse; one look for all."""
    if made.shape != volumes.shape or not made.is_floating_point():
        return False
    low, high = made.flatten(1).aminmax(dim=1)
    return bool((torch.isfinite(low) & torch.isfinite(high) & (low < high)).all())


def bias_field(
    artefact: mr.BiasField, volumes: Tensor, severity: int, generators: Sequence[Generator]
) -> Tensor:
    """Evaluate the polynomials by contracting one axis after the other."""
    order = artefact.levels[severity - 1].order
    monomials = mr.powers(order)
    coefficients = torch.zeros(len(volumes), *(order + 1,) * 3, dtype=torch.float64)
    for cube, volume, generator in zip(coefficients, volumes, generators, strict=True):
        drawn = artefact.draw(volume, severity, generator)
        for (x, y, z), value in zip(monomials, drawn, strict=True):
            cube[x, y, z] = value
    bases = [_monomials(size, order, volumes.device) for size in volumes.shape[2:]]
    field = torch.einsum("bxyz,ix,jy->bijz", coefficients.to(volumes), bases[0], bases[1])
    gain = torch.matmul(field, bases[2].T).exp_()
    return volumes * gain[:, None]


def _monomials(size: int, order: int, device: torch.device) -> Tensor:
    """Powers (size, order + 1) of the voxel positions along an axis, scaled to [-1, 1]."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    scaled = places / places.max() if size > 1 else places
    return torch.stack([scaled**power for power in range(order + 1)], dim=1).to(
        device, torch.float32
    )


def spike(
    artefact: mr.Spike, volumes: Tensor, severity: int, generators: Sequence[Generator]
) -> Tensor:
    """Add the stripes, the real part of a product of three complex exponentials."""
    level = artefact.levels[severity - 1]
    grid = volumes.shape[2:]
    waves: list[list[Tensor]] = [[], [], []]
    for volume, generator in zip(volumes, generators, strict=True):
        place = artefact.draw(volume, generator)
        for wave, share, size in zip(waves, place, grid, strict=True):
            cycles = torch.floor(share * size) - size // 2
            phase = 2 * torch.pi * cycles * torch.arange(size, dtype=torch.float64) / size
            wave.append(torch.polar(torch.ones_like(phase), phase))
    depth, height, width = (torch.stack(wave) for wave in waves)
    planes = level.amplitude * depth[:, :, None] * height[:, None, :]
    # TorchIO scales a spike with the channel's peak; a black channel has none.
    bright = volumes.flatten(2).amax(dim=2)[:, :, None, None, None] > 0
    real, imaginary = (part.to(volumes)[:, None, :, :, None] for part in (planes.real, planes.imag))
    cosine, sine = (part.to(volumes)[:, None, None, None] for part in (width.real, width.imag))
    return torch.addcmul(volumes, real * bright, cosine).addcmul_(imaginary * bright, -sine)


def ghosting(
    artefact: mr.Ghosting, volumes: Tensor, severity: int, generators: Sequence[Generator]
) -> Tensor:
    """Convolve along the drawn axis; scaling planes of k-space acts on no other axis."""
    intensity = artefact.levels[severity - 1].intensity
    made = torch.empty_like(volumes)
    for volume, result, generator in zip(volumes, made, generators, strict=True):
        axis, number = artefact.draw(volume, generator)
        matrix = _attenuation(volume.shape[axis + 1], number, intensity).to(volume)
        for channel, out in zip(volume, result, strict=True):
            _along(matrix, channel, axis, out)
    return made


@lru_cache(maxsize=64)
def _attenuation(size: int, number: int, intensity: float) -> Tensor:
    """The matrix (n, n) that scales every `number`-th plane of an axis of k-space."""
    weights = np.ones((1, size))
    weights[:, ::number] = 1 - intensity
    weights[:, size // 2] = 1
    return _convolutions(weights)[0].float()


def _convolutions(weights: np.ndarray[Any, Any]) -> Tensor:
    """Matrices (B, n, n) of the convolutions that weight planes of centred k-spaces by (B, n)."""
    size = weights.shape[1]
    kernel = np.fft.ifft(np.fft.ifftshift(weights, axes=1), axis=1).real
    shift = (np.arange(size)[:, None] - np.arange(size)[None]) % size
    return torch.from_numpy(kernel[:, shift])


def _along(matrix: Tensor, channel: Tensor, axis: int, out: Tensor) -> None:
    """Multiply a channel (D, H, W) by a matrix (n, n) along one axis; `out` is contiguous."""
    depth, height, width = channel.shape
    if axis == 0:
        torch.mm(matrix, channel.reshape(depth, -1), out=out.view(depth, -1))
    elif axis == 1:
        torch.bmm(matrix.expand(depth, height, height), channel, out=out)
    else:
        torch.mm(channel.reshape(-1, width), matrix.T, out=out.view(-1, width))


def motion(
    artefact: mr.Motion, volumes: Tensor, severity: int, generators: Sequence[Generator]
) -> Tensor:
    """Sum the moved copies, each convolved along the last axis with its part of k-space."""
    made = []
    width = volumes.shape[4]
    for volume, generator in zip(volumes, generators, strict=True):
        degrees, shifts, times = artefact.draw(volume, severity, generator)
        kernels = _convolutions(_shares(times, width)).to(volume)
        total = volume.reshape(-1, width) @ kernels[0].T
        for copy, kernel in zip(_moved(volume, degrees, shifts), kernels[1:], strict=True):
            total.addmm_(copy.reshape(-1, width), kernel.T)
        made.append(total.reshape(volume.shape))
    return torch.stack(made)


def _shares(times: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Which planes of k-space each copy fills, (copies, n); the unmoved one fills the centre."""
    moves = len(times)
    later = np.flatnonzero(times > 0.5)
    centre = int(later[0]) if len(later) else moves
    order = list(range(moves + 1))
    order[0], order[centre] = order[centre], order[0]
    ends = [0, *(size * times).astype(int), size]
    shares = np.zeros((moves + 1, size))
    for place, copy in enumerate(order):
        shares[copy, ends[place] : ends[place + 1]] = 1
    return shares


def _moved(volume: Tensor, degrees: np.ndarray[Any, Any], shifts: np.ndarray[Any, Any]) -> Tensor:
    """Rigidly moved copies (M, C, D, H, W), trilinear; outside each is as dark as its minimum.

    As in ITK, half a voxel beyond the outermost centres still belongs to the volume.
    """
    places = _places(volume, *_maps(degrees, shifts))
    whole = volume.expand(places.shape[1], *volume.shape)
    where = places.permute(1, 2, 3, 4, 0)
    copies = F.grid_sample(whole, where, padding_mode="border", align_corners=True)
    inside = _inside(volume.shape[1:], *_maps(degrees, shifts)).to(volume.device)
    darkest = volume.flatten(1).amin(dim=1)[:, None, None, None]
    return torch.where(inside[:, None], copies, darkest)


def _inside(
    grid: Sequence[int], matrices: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]
) -> Tensor:
    """Which voxels come from within the volume, (M, D, H, W), decided in float64 as in ITK.

    Each bound is linear along W, so the voxels of a row inside the volume form one run.
    """
    deep, high, wide = (np.arange(size) - (size - 1) / 2 for size in grid)
    first = np.full((len(matrices), len(deep), len(high)), -np.inf)
    last = -first
    for axis, size in enumerate(grid):
        m = matrices[:, axis, :, None, None]
        start = m[:, 0] * deep[:, None] + m[:, 1] * high + offsets[:, axis, None, None]
        slope = np.where(m[:, 2] == 0, 1e-300, m[:, 2])
        one, other = (-size / 2 - start) / slope, (size / 2 - start) / slope
        first = np.maximum(first, np.minimum(one, other))
        last = np.minimum(last, np.maximum(one, other))
    begin = np.searchsorted(wide, first.ravel(), side="left").reshape(first.shape)
    end = np.searchsorted(wide, last.ravel(), side="right").reshape(last.shape)
    index = torch.arange(len(wide), dtype=torch.int32)
    lower, upper = (torch.from_numpy(v.astype(np.int32))[..., None] for v in (begin, end))
    return (index >= lower).logical_and_(index < upper)


def _places(
    volume: Tensor, matrices: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]
) -> Tensor:
    """Where voxels of the copies come from, along W, H and D; outermost centres are at -1 and 1.

    Returns:
        Shape (3, M, D, H, W).
    """
    grid = volume.shape[1:]
    places = torch.empty(3, len(matrices), *grid, device=volume.device)
    lines = [np.arange(size) - (size - 1) / 2 for size in grid]
    for axis, size in enumerate(grid):
        place = places[2 - axis]
        if size == 1:
            place.zero_()
            continue
        scale = 2 / (size - 1)
        rows = matrices[:, axis] * scale
        deep, high, wide = (np.multiply.outer(r, v) for r, v in zip(rows.T, lines, strict=True))
        wide += (offsets[:, axis] * scale)[:, None]
        plane = torch.from_numpy(deep[:, :, None] + high[:, None, :]).to(volume)
        line = torch.from_numpy(wide).to(volume)
        torch.add(plane[..., None], line[:, None, None], out=place)
    return places


def _maps(
    degrees: np.ndarray[Any, Any], shifts: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where each voxel of a copy comes from: matrices (M, 3, 3) and offsets (M, 3).

    ITK rotates in the order Rz Rx Ry, and its first two axes point the other way.
    """
    flip = np.array([-1.0, -1.0, 1.0])
    sines, cosines = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    matrices = []
    for (sx, sy, sz), (cx, cy, cz) in zip(sines, cosines, strict=True):
        about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        matrices.append(flip[:, None] * (about_z @ about_x @ about_y) * flip)
    return np.stack(matrices), shifts * flip


IMPLEMENTATIONS: dict[type[Artefact], Implementation] = {
    mr.BiasField: bias_field,
    mr.Spike: spike,
    mr.Ghosting: ghosting,
    mr.Motion: motion,
}
"""By the artefact that each implements."""
