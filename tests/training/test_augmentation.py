"""What is done to training volumes, each against what it must be."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness.training import augmentation, recipes
from benchharness.training.augmentation import Augmentation
from tests import samples

if TYPE_CHECKING:
    from benchharness.datasets.base import Split
    from benchharness.training.recipe import Recipe

QUICK = dataclasses.replace(recipes.find("quick"), flips=False)
CPU = torch.device("cpu")


def made(recipe: Recipe, split: Split | None = None, epoch: int = 0) -> Augmentation:
    names = ("training", "data", 0, epoch)
    split = samples.dataset().train if split is None else split
    return Augmentation(recipe, split, np.random.Generator(np.random.PCG64(0)), names)


def movement(turn: list[list[float]], shift: tuple[float, float, float]) -> torch.Tensor:
    """Coordinates are (W, H, D)."""
    return torch.tensor([[[*row, move] for row, move in zip(turn, shift, strict=True)]])


def test_without_settings_volumes_stay_as_they_are() -> None:
    split = samples.dataset().train
    found = made(QUICK).volumes(np.arange(5), CPU)
    assert torch.equal(found, torch.from_numpy(split.volumes[:5]).float() / 255)


def test_affines_move_voxels_where_they_belong() -> None:
    inputs = torch.rand(1, 1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    still = movement([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (0, 0, 0))
    torch.testing.assert_close(augmentation.moved(inputs, still), inputs)
    # One voxel along W: the last column comes from beyond the edge.
    by_one = augmentation.moved(inputs, movement([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (1, 0, 0)))
    torch.testing.assert_close(by_one[..., :-1], inputs[..., 1:], atol=1e-5, rtol=0)
    assert float(by_one[..., -1].abs().max()) < 1e-5
    # A quarter turn in the plane of H and W, on a grid that is not a cube.
    turned = augmentation.moved(inputs, movement([[0, -1, 0], [1, 0, 0], [0, 0, 1]], (0, 0, 0)))
    quarter = [torch.rot90(inputs, k, (3, 4)) for k in (1, -1)]
    assert any(torch.allclose(turned, one, atol=1e-5) for one in quarter)


@pytest.mark.parametrize("grid", [(5, 8, 8), (1, 8, 8)])
def test_drawn_affines_stay_within_their_ranges(grid: tuple[int, int, int]) -> None:
    recipe = dataclasses.replace(QUICK, rotation=10.0, zoom=0.1, shift=0.05)
    inputs = torch.zeros(200, 1, *grid)
    found = augmentation._movements(recipe, inputs, None, np.random.Generator(np.random.PCG64(0)))
    scales = torch.linalg.det(found[:, :, :3]) ** (-1 / 3)
    assert 0.9 - 1e-5 <= float(scales.min()) < 0.92
    assert 1.08 < float(scales.max()) <= 1.1 + 1e-5
    shares = found[:, :, 3].abs() / torch.tensor(grid[::-1])
    assert 0.04 < float(shares.max()) <= 0.05
    if grid[0] == 1:  # a flat volume stays in its plane
        assert float(found[:, 2, :2].abs().max()) == float(found[:, 2, 3].abs().max()) == 0.0


def test_noise_has_its_deviation_and_another_in_each_epoch() -> None:
    recipe = dataclasses.replace(QUICK, noise=0.2)
    clean = made(QUICK).volumes(np.arange(8), CPU)
    noise = [made(recipe, epoch=k).volumes(np.arange(8), CPU) - clean for k in (0, 0, 1)]
    assert float(noise[0].std()) == pytest.approx(0.2, rel=0.02)
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])


def test_mixup_mixes_volumes_and_labels_by_one_weight() -> None:
    recipe = dataclasses.replace(QUICK, mixup=1.0)
    inputs = torch.eye(6).view(6, 1, 6, 1, 1)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    mixed, targets = made(recipe).mixed(inputs, labels, 3)
    # Each volume tells by its ones which two it is of, and with what weights.
    weights = mixed.view(6, 6)
    expected = weights @ torch.nn.functional.one_hot(labels, 3).float()
    torch.testing.assert_close(targets, expected)
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert made(QUICK).mixed(inputs, labels, 3)[1] is labels


def test_a_share_of_the_volumes_shows_an_artefact_of_the_subset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = dataclasses.replace(
        QUICK, artefacts=("blur", "gamma"), artefact_levels=(1, 3), artefact_share=0.5
    )
    seen: list[tuple[str, int]] = []

    def build(name: str) -> object:
        def artefact(volume: torch.Tensor, *, severity: int, **_: object) -> object:
            seen.append((name, severity))
            return dataclasses.make_dataclass("Corrupted", ["volume"])(volume * 0)

        return artefact

    monkeypatch.setattr(augmentation, "_artefact", build)
    found = made(recipe).volumes(np.arange(48), CPU)
    shown = (found == 0).flatten(1).all(1)
    assert len(seen) == int(shown.sum())
    assert 12 < len(seen) < 36
    assert set(seen) == {(name, level) for name in ("blur", "gamma") for level in (1, 3)}


def test_an_empty_volume_keeps_its_zeros() -> None:
    split = samples.dataset().train
    empty = dataclasses.replace(split, volumes=np.zeros_like(split.volumes))
    recipe = dataclasses.replace(
        QUICK, artefacts=("blur",), artefact_levels=(1,), artefact_share=1.0
    )
    assert not made(recipe, empty).volumes(np.arange(3), CPU).any()


def test_axes_change_places_where_the_grid_stays_as_it_is() -> None:
    draws = np.random.Generator(np.random.PCG64(0))
    volume = np.arange(64, dtype=np.uint8).reshape(1, 4, 4, 4)
    found = augmentation.transposed(np.stack([volume] * 600), None, draws)
    orders = [(0, *order) for order in itertools.permutations((1, 2, 3))]
    counts = [sum(np.array_equal(f, volume.transpose(o)) for f in found) for o in orders]
    assert sum(counts) == 600
    assert min(counts) > 70  # six orders, 100 each expected


@pytest.mark.parametrize(
    ("grid", "spacing", "alike"),
    [
        ((3, 4, 4), None, {1, 2}),
        ((3, 4, 4), (5.0, 1.0, 1.0), {1, 2}),
        ((4, 4, 4), (5.0, 1.0, 1.0), {1, 2}),
        ((4, 4, 4), (1.0, 2.0, 1.0), {0, 2}),
        ((4, 4, 3), (1.0, 2.0, 1.0), set()),
        ((4, 4, 4), (1.0, 0.7, 0.70000002), {1, 2}),
        ((1, 4, 4), None, {1, 2}),
    ],
)
def test_axes_of_another_length_or_spacing_stay_where_they_are(
    grid: tuple[int, int, int], spacing: tuple[float, float, float] | None, alike: set[int]
) -> None:
    draws = np.random.Generator(np.random.PCG64(0))
    volume = np.arange(math.prod(grid), dtype=np.uint8).reshape(1, *grid)
    found = augmentation.transposed(np.stack([volume] * 50), spacing, draws)
    assert found.shape[2:] == grid
    changed = volume.copy() if not alike else np.swapaxes(volume, *(a + 1 for a in alike))
    made = {one.tobytes() for one in found}
    assert made == {volume.tobytes(), np.ascontiguousarray(changed).tobytes()}


def test_with_flips_and_transposes_a_cube_gets_each_of_its_48_symmetries() -> None:
    split = samples.dataset().train
    volume = np.arange(27, dtype=np.uint8).reshape(1, 1, 3, 3, 3)
    cubes = dataclasses.replace(
        split,
        volumes=np.repeat(volume, 2000, axis=0),
        labels=np.zeros(2000, np.int64),
        ids=tuple(f"cube-{i}" for i in range(2000)),
    )
    recipe = dataclasses.replace(QUICK, flips=True, transposes=True)
    found = made(recipe, cubes).volumes(np.arange(2000), CPU)
    assert len({one.numpy().tobytes() for one in found}) == 48


def test_a_turn_is_one_in_space_whatever_the_spacing() -> None:
    """In millimetres, what a volume is moved by is a rotation: its inverse is its transpose."""
    recipe, inputs = dataclasses.replace(QUICK, rotation=30.0), torch.zeros(20, 1, 6, 8, 10)
    spacing = (5.0, 0.5, 1.0)
    draws = [np.random.Generator(np.random.PCG64(0)) for _ in range(3)]
    found = augmentation._movements(recipe, inputs, spacing, draws[0])[:, :, :3].double()
    plain = augmentation._movements(recipe, inputs, None, draws[1])[:, :, :3].double()
    equal = augmentation._movements(recipe, inputs, (2.0, 2.0, 2.0), draws[2])[:, :, :3].double()
    mm = torch.diag(torch.tensor(spacing[::-1], dtype=torch.float64))
    turns = mm @ found @ torch.linalg.inv(mm)
    torch.testing.assert_close(turns, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        turns @ turns.mT, torch.eye(3).double().expand(20, 3, 3), atol=1e-5, rtol=0
    )
    assert torch.equal(equal, plain)
    assert not torch.allclose(found, plain)
