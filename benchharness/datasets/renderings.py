"""The phantom's scenes as CT, as MR and as a radiograph show them.

A scene is a mixture of three materials: fat and muscle, whose shares vary slowly, and the mineral
of the structure. The phantom's grey value t of the tissue sets the share of muscle, t / 0.7, and
the structure's contrast sets the share of mineral. Everything that a scanner adds is drawn from a
hash of the rendering, the split and the index, apart from the draws of the scene.

- CT: Hounsfield units of the mixture in a fixed window, with cupping and with noise correlated as
  after filtered back-projection. Mineral is bright, fat dark.
- MR: a T1-weighted spoiled gradient echo, whose repetition time, flip angle and echo time vary
  between volumes, with a receive field and Rician noise. Mineral is dark, fat bright.
- X-ray: attenuation projected along depth by Beer and Lambert, with photons counted in every pixel,
  shown as its logarithm. Mineral is bright.

The field of view is 56 mm, so a voxel of 28³ has 2 mm. The polarity of both tissue and structure
differs between CT and MR, which is the shift that a network trained on one meets on the other.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchharness.datasets import phantom
from benchharness.randomness import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Labels = np.ndarray[Any, np.dtype[np.int64]]
    Masks = np.ndarray[Any, np.dtype[np.bool_]]
    Scanner = Callable[["_Mixture", np.random.Generator], Floats]

Rendering = Literal["ct", "mr", "xray"]

VERSION = 1
"""Raised when the same names start to mean other voxels."""

FIELD_OF_VIEW = 56.0
"""Millimetres per axis."""

_MOST_MUSCLE = 0.7  # grey value of the phantom's tissue that is muscle alone; 0 is fat alone
_MINERAL = 0.5  # share of mineral per contrast of the phantom: 0.13 to 0.21 inside

# Linear attenuation at 60 keV, the mean energy of a beam at 120 kV, in 1/cm: mass attenuation times
# density of water and of ICRU-44 adipose tissue, skeletal muscle and cortical bone; Hubbell and
# Seltzer, NIST Standard Reference Database 126 (2004), tables 2 and 4.
WATER = 0.2059 * 1.00
FAT = 0.1974 * 0.95
MUSCLE = 0.2048 * 1.05
BONE = 0.3148 * 1.92

# CT. The window suits mineral and soft tissue. Noise is that of thin slices at a low dose; cupping
# is what a correction of beam hardening leaves (Barrett and Keat, RadioGraphics 24, 1679, 2004).
_WINDOW = (-400.0, 600.0)  # HU shown as 0 and as 1
_CT_NOISE = (90.0, 130.0)  # standard deviation, HU
_CUPPING = (0.0, 30.0)  # HU missing on the axis of rotation
_SMOOTH, _RAMP = (1, 2, 1), (1, 6, 15, 20, 15, 6, 1)  # binomial kernels, as `_correlated` says
_SUPPRESSED = 0.8  # share of the low frequencies that the ramp takes away

# MR at 1.5 T: relaxation in ms (Gold et al., American Journal of Roentgenology 183, 343, 2004) and
# proton densities relative to water, rounded. Mineral has no signal of its own. It adds to R2* in
# proportion to its share: trabecular bone of a share of 0.1 to 0.2 has an R2' of some 40 to 80 1/s
# (Wehrli et al., NMR in Biomedicine 19, 731, 2006).
_T1_FAT, _T2_FAT, _PROTONS_FAT = 288.0, 165.0, 0.9
_T1_MUSCLE, _T2_MUSCLE, _PROTONS_MUSCLE = 1130.0, 35.0, 0.8
_R2_MINERAL = 0.4  # 1/ms of a voxel all mineral
_REPETITION = (120.0, 250.0)  # ms
_FLIP = (60.0, 80.0)  # degrees
_ECHO = (6.0, 11.0)  # ms
_GAIN = (0.7, 0.95)  # shown intensity of fat alone
_RECEIVE = (0.05, 0.2)  # standard deviation of the logarithm of the receive field
_RECEIVE_CELLS = 1
_MR_NOISE = (0.02, 0.04)  # standard deviation of either channel, shown intensity

# X-ray.
_PHOTONS = (2000.0, 4000.0)  # counted in a pixel of 2 mm without a patient: one fluoroscopic frame
_SHOWN = (0.9, 1.5)  # ln(I0 / I) shown as 0 and as 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixture:
    """Volume shares of three materials, which add up to one, each `(size, size, size)`."""

    fat: Floats
    muscle: Floats
    mineral: Floats

    @property
    def attenuation(self) -> Floats:
        """Linear attenuation in 1/cm."""
        return FAT * self.fat + MUSCLE * self.muscle + BONE * self.mineral


def volumes(rendering: Rendering, split: str, size: int) -> tuple[Bytes, Labels, Masks]:
    """Make all volumes of a split, in the phantom's order.

    Args:
        rendering: What shows the scenes.
        split: `"train"`, `"val"` or `"test"`.
        size: Voxels per axis.

    Returns:
        Volumes `(N, size, size, size)`, class indices `(N,)`, and masks of the structure. Those of
        a radiograph have a depth of 1: its mask is the structure's shadow.
    """
    count = phantom.SPLIT_SIZES[split]
    # Each volume depends only on its name, so threads change no bit of it.
    with ThreadPoolExecutor() as threads:
        made = list(threads.map(lambda i: render(rendering, split, i, size), range(count)))
    images, masks = (np.stack(arrays) for arrays in zip(*made, strict=True))
    return images, np.arange(count, dtype=np.int64) % len(phantom.CLASSES), masks


def render(rendering: Rendering, split: str, index: int, size: int) -> tuple[Bytes, Masks]:
    """One scene `(D, H, W)` as a scanner shows it, and where its structure is."""
    scene = phantom.anatomy(split, index, size)
    scanner = numpy_generator(f"phantom3d_{rendering}", VERSION, split, index, "scanner", size)
    image = _SCANNERS[rendering](mixture(scene.tissue, scene.structure), scanner)
    mask: Masks = scene.mask
    if rendering == "xray":
        mask = np.any(mask, axis=0, keepdims=True)
    return phantom.to_bytes(image), mask


def mixture(tissue: Floats, structure: Floats) -> _Mixture:
    """What a scene is made of: see `phantom.anatomy`."""
    mineral = np.clip(_MINERAL * structure, 0, 1)
    muscle = (1 - mineral) * np.clip(tissue / _MOST_MUSCLE, 0, 1)
    return _Mixture(fat=1 - mineral - muscle, muscle=muscle, mineral=mineral)


def hounsfield(attenuation: Floats) -> Floats:
    """Linear attenuation in 1/cm as Hounsfield units: 0 is water, −1000 nothing."""
    scaled: Floats = 1000 * (attenuation / WATER - 1)
    return scaled


def _ct(scene: _Mixture, scanner: np.random.Generator) -> Floats:
    units: Floats = hounsfield(scene.attenuation)
    size = units.shape[-1]
    squared = ((np.arange(size) + 0.5) / size * 2 - 1) ** 2
    off_axis = np.minimum(squared[:, None] + squared[None, :], 1)
    units = units - scanner.uniform(*_CUPPING) * (1 - off_axis)
    units += scanner.uniform(*_CT_NOISE) * correlated(scanner, size)
    low, high = _WINDOW
    shown: Floats = (units - low) / (high - low)
    return shown


def correlated(scanner: np.random.Generator, size: int) -> Floats:
    """Noise `(size, size, size)` of mean 0 and deviation 1, correlated within axial slices.

    The ramp of filtered back-projection makes noise power grow with frequency, and the smoothing
    that follows it lets it fall again (Riederer et al., Physics in Medicine and Biology 23, 446,
    1978). The difference of two binomial kernels has such a spectrum.
    """
    kernel = _noise_kernel()
    reach = len(kernel) - 1
    white = scanner.standard_normal((size, size + reach, size + reach))
    noise = np.zeros((size, size, size))
    for row, weights in enumerate(kernel):
        for column, weight in enumerate(weights):
            noise += weight * white[:, row : row + size, column : column + size]
    return noise


def _noise_kernel() -> Floats:
    ramp = np.outer(_RAMP, _RAMP) / sum(_RAMP) ** 2
    beside = (len(_RAMP) - len(_SMOOTH)) // 2
    smooth = np.pad(np.outer(_SMOOTH, _SMOOTH) / sum(_SMOOTH) ** 2, beside)
    kernel = smooth - _SUPPRESSED * ramp
    unit: Floats = kernel / np.sqrt((kernel * kernel).sum())
    return unit


def _mr(scene: _Mixture, scanner: np.random.Generator) -> Floats:
    repetition, flip = scanner.uniform(*_REPETITION), math.radians(scanner.uniform(*_FLIP))
    echo, gain = scanner.uniform(*_ECHO), scanner.uniform(*_GAIN)
    fat = _PROTONS_FAT * spoiled_echo(_T1_FAT, _T2_FAT, repetition, flip, echo)
    muscle = _PROTONS_MUSCLE * spoiled_echo(_T1_MUSCLE, _T2_MUSCLE, repetition, flip, echo)
    signal = fat * scene.fat + muscle * scene.muscle
    signal *= np.exp(-echo * _R2_MINERAL * scene.mineral) * (gain / fat)
    size = signal.shape[-1]
    field = phantom.smooth_field(scanner, size, _RECEIVE_CELLS)
    signal *= np.exp(scanner.uniform(*_RECEIVE) * field)
    return rician(signal, scanner.uniform(*_MR_NOISE), scanner)


def spoiled_echo(t1: float, t2: float, repetition: float, flip: float, echo: float) -> float:
    """Signal of a spoiled gradient echo for one proton density, in [0, 1].

    sin α · (1 − E) / (1 − cos α · E) · exp(−TE / T2) with E = exp(−TR / T1): Haase et al., Journal
    of Magnetic Resonance 67, 258 (1986).

    Args:
        t1: Longitudinal relaxation time, as every time in ms.
        t2: Transverse relaxation time.
        repetition: TR.
        flip: α in radians.
        echo: TE.
    """
    left = math.exp(-repetition / t1)
    steady = math.sin(flip) * (1 - left) / (1 - math.cos(flip) * left)
    return steady * math.exp(-echo / t2)


def rician(signal: Floats, deviation: float, scanner: np.random.Generator) -> Floats:
    """Magnitude of a signal with Gaussian noise in its real and its imaginary channel."""
    real = signal + deviation * scanner.standard_normal(signal.shape)
    imaginary = deviation * scanner.standard_normal(signal.shape)
    magnitude: Floats = np.sqrt(real * real + imaginary * imaginary)
    return magnitude


def _xray(scene: _Mixture, scanner: np.random.Generator) -> Floats:
    photons = scanner.uniform(*_PHOTONS)
    step = FIELD_OF_VIEW / 10 / len(scene.fat)
    counted = counts(transmitted(scene.attenuation, step) * photons, scanner)
    low, high = _SHOWN
    # No pixel is without a photon: some hundred are expected in each.
    shown: Floats = (np.log(photons / np.maximum(counted, 1)) - low) / (high - low)
    return shown


def transmitted(attenuation: Floats, step: float) -> Floats:
    """Share I / I0 of photons that cross a volume along depth: exp(−Σ μ·Δz), `(1, H, W)`.

    Args:
        attenuation: μ in 1/cm, `(D, H, W)`.
        step: Δz in cm.
    """
    share: Floats = np.exp(-step * attenuation.sum(axis=0, keepdims=True))
    return share


def counts(expected: Floats, scanner: np.random.Generator) -> Floats:
    """Photons counted where so many are expected.

    Expectations are rounded to 1/1024, so that the last bits, which differ between machines, do not
    decide how many numbers are drawn.
    """
    return scanner.poisson(np.rint(expected * 1024) / 1024).astype(np.float64)


_SCANNERS: dict[Rendering, Scanner] = {"ct": _ct, "mr": _mr, "xray": _xray}
