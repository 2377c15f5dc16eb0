"""What is done to training volumes before the network sees them, each as a recipe says.

Draws come from generators that the epoch names, so a resumed training makes the same volumes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from benchharness import artefacts, randomness
from benchharness.errors import CellError
from benchharness.networks.batches import as_float

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.datasets.base import Levels, Spacing, Split
    from benchharness.training.recipe import Recipe


class Augmentation:
    """Makes the volumes of one epoch, batch by batch.

    Args:
        recipe: What to do.
        split: The training volumes.
        draws: Generator that the epoch's order was drawn from.
        names: Of the epoch: everything but the flips draws from a generator of its own, so that a
            recipe without it keeps its bits.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        draws: np.random.Generator,
        names: tuple[randomness.Name, ...],
    ) -> None:
        self.recipe, self.split = recipe, split
        self._flips = draws
        self._draws = randomness.numpy_generator(*names, "augmentation")
        self._noise = randomness.torch_generator(*names, "noise")

    def volumes(self, chosen: NDArray[np.int64], device: torch.device) -> Tensor:
        """Some of the volumes, (B, C, D, H, W), float32; in [0, 1] without noise."""
        recipe = self.recipe
        levels = flipped(self.split.volumes[chosen], recipe, self._flips)
        if recipe.transposes:
            levels = transposed(levels, self.split.spacing, self._draws)
        inputs = as_float(levels, device)
        if recipe.rotation or recipe.zoom or recipe.shift:
            inputs = moved(inputs, _movements(recipe, inputs, self.split.spacing, self._draws))
        if recipe.artefacts:
            inputs = self._with_artefacts(inputs.cpu(), chosen).to(device)
        if recipe.noise:
            drawn = torch.randn(inputs.shape, generator=self._noise)
            inputs = inputs + recipe.noise * drawn.to(device)
        return inputs

    def mixed(self, inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Volumes mixed with others of the batch, and their labels (B, K) as probabilities.

        Without mixup both stay as they are. One weight a batch, as in the authors' code.
        """
        if not self.recipe.mixup:
            return inputs, labels
        weight = float(self._draws.beta(self.recipe.mixup, self.recipe.mixup))
        others = torch.from_numpy(self._draws.permutation(len(inputs))).to(inputs.device)
        own = F.one_hot(labels, classes).float()
        return (
            weight * inputs + (1 - weight) * inputs[others],
            weight * own + (1 - weight) * own[others],
        )

    def _with_artefacts(self, inputs: Tensor, chosen: NDArray[np.int64]) -> Tensor:
        """Give a share of the volumes one artefact each, at one of the recipe's levels."""
        recipe, made = self.recipe, inputs.clone()
        for row, place in enumerate(chosen):
            shown, which, level, seed = (
                self._draws.random() < recipe.artefact_share,
                self._draws.integers(len(recipe.artefacts)),
                self._draws.integers(len(recipe.artefact_levels)),
                int(self._draws.integers(2**31)),
            )
            if not shown or not bool(inputs[row].any()):
                continue  # in a volume of zeros there is nothing to corrupt
            try:
                corrupted = _artefact(recipe.artefacts[which])(
                    inputs[row],
                    severity=recipe.artefact_levels[level],
                    id=self.split.ids[place],
                    seed=seed,
                    spacing=self.split.spacing,
                )
            except CellError:
                continue  # nothing would be left of the volume
            made[row] = corrupted.volume
        return made


_artefact = cache(artefacts.build)


def flipped(volumes: Levels, recipe: Recipe, draws: np.random.Generator) -> Levels:
    """Flip each axis of each volume with probability one half, if the recipe says so."""
    if not recipe.flips:
        return volumes
    flipped = draws.random((len(volumes), 3)) < 0.5
    flip_axes = [tuple((np.flatnonzero(row) + 1).tolist()) for row in flipped]
    return np.stack([np.flip(v, axes) for v, axes in zip(volumes, flip_axes, strict=True)])


def transposed(volumes: Levels, spacing: Spacing | None, draws: np.random.Generator) -> Levels:
    """Let the axes of each volume change places, all orders equally likely.

    Args:
        volumes: (B, C, D, H, W).
        spacing: Of the three axes, in mm; None where it is unknown, and taken as equal.
        draws: Where the orders are drawn from.

    Only axes of the same length and spacing, to a thousandth of a millimetre, change places, so the
    grid stays as it is.
    """
    steps = (round(step, 3) for step in spacing or (1.0, 1.0, 1.0))
    kinds = list(zip(volumes.shape[2:], steps, strict=True))
    orders = np.tile(np.arange(3), (len(volumes), 1))
    for kind in dict.fromkeys(kinds):
        alike = [axis for axis in range(3) if kinds[axis] == kind]
        orders[:, alike] = draws.permuted(orders[:, alike], axis=1)
    return np.stack(
        [np.transpose(v, (0, *(order + 1))) for v, order in zip(volumes, orders, strict=True)]
    )


def _movements(
    recipe: Recipe, inputs: Tensor, spacing: Spacing | None, draws: np.random.Generator
) -> Tensor:
    """Drawn matrices (B, 3, 4) from voxels of the result to voxels of the volume, from the centre.

    Coordinates are (W, H, D), as `torch.nn.functional.affine_grid` has them. Turns are turns in
    space, whatever the voxels' spacing (D, H, W) in mm. A flat volume stays in its plane.
    """
    steps = np.asarray((spacing or (1.0, 1.0, 1.0))[::-1], np.float64)
    count, sizes = len(inputs), np.asarray(inputs.shape[:1:-1], np.float64)
    angles = np.radians(draws.uniform(-recipe.rotation, recipe.rotation, (count, 3)))
    scales = draws.uniform(1 - recipe.zoom, 1 + recipe.zoom, count)
    shifts = draws.uniform(-recipe.shift, recipe.shift, (count, 3)) * sizes
    if sizes[2] == 1:
        angles[:, :2], shifts[:, 2] = 0, 0
    matrices = np.zeros((count, 3, 4))
    for matrix, own, scale, shift in zip(matrices, angles, scales, shifts, strict=True):
        turn = np.eye(3)
        for axis, angle in enumerate(own):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            step = np.eye(3)
            step[first, first] = step[second, second] = math.cos(angle)
            step[first, second], step[second, first] = -math.sin(angle), math.sin(angle)
            turn = turn @ step
        turn = turn if np.ptp(steps) == 0 else turn * steps / steps[:, None]
        matrix[:, :3], matrix[:, 3] = turn / scale, shift
    return torch.from_numpy(matrices).float().to(inputs.device)


def moved(inputs: Tensor, movements: Tensor) -> Tensor:
    """Volumes resampled linearly, with zeros from beyond their edges.

    Args:
        inputs: (B, C, D, H, W).
        movements: (B, 3, 4), as from `_movements`.
    """
    sizes = torch.tensor(inputs.shape[:1:-1], dtype=inputs.dtype, device=inputs.device)
    # The grid's own coordinates go from −1 to 1 along each axis, whatever its length.
    turns = movements[:, :, :3] * sizes / sizes[:, None]
    shifts = 2 * movements[:, :, 3] / sizes
    matrices = torch.cat([turns, shifts[:, :, None]], dim=2)
    grid = F.affine_grid(matrices, list(inputs.shape), align_corners=False)
    sampled: Tensor = F.grid_sample(inputs, grid, align_corners=False)
    return sampled
