"""Batched implementations give what TorchIO gives, whatever the grid, the batch and the level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchharness import artefacts, registry
from benchharness.artefacts import LEVELS, batched
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from benchharness.artefacts import Artefact

PAIRS = [
    artefact
    for artefact in map(artefacts.build, registry.BUILT_IN["artefacts"])
    if batched.available(artefact)
]
IDS = tuple(f"set/test/{index}" for index in range(4))


def volumes(*grid: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(grid))
    return torch.rand(len(IDS), *grid, generator=generator)


def test_what_costs_most_has_one() -> None:
    assert {artefact.name for artefact in PAIRS} == {"bias_field", "spike", "ghosting", "motion"}


@pytest.mark.parametrize("grid", [(1, 28, 28, 28), (2, 9, 16, 21), (1, 1, 12, 12)])
@pytest.mark.parametrize("severity", LEVELS)
@pytest.mark.parametrize("artefact", PAIRS, ids=lambda artefact: artefact.name)
def test_it_equals_torchio_to_1e_4(
    artefact: Artefact, severity: int, grid: tuple[int, ...]
) -> None:
    x = volumes(*grid)
    x[1, 0] = 0
    x[1, 0, 0, 2:8, 3:9] = 1
    made, clipped = batched.corrupt(artefact, x, severity=severity, ids=IDS, seed=3)
    for volume, one, share, name in zip(x, made, clipped, IDS, strict=True):
        expected = artefact(volume, severity=severity, id=name, seed=3)
        assert float((one - expected.volume).abs().max()) < 1e-4
        assert float(share) == pytest.approx(expected.clipped, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("artefact", PAIRS, ids=lambda artefact: artefact.name)
def test_it_equals_torchio_at_64(artefact: Artefact) -> None:
    x = volumes(1, 64, 64, 64)
    for severity in LEVELS:
        made, _ = batched.corrupt(artefact, x, severity=severity, ids=IDS, seed=0)
        for volume, one, name in zip(x, made, IDS, strict=True):
            expected = artefact(volume, severity=severity, id=name, seed=0).volume
            assert float((one - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("artefact", PAIRS, ids=lambda artefact: artefact.name)
def test_a_batch_is_close_to_its_volumes_one_by_one(artefact: Artefact) -> None:
    x = volumes(1, 16, 16, 16)
    whole, _ = batched.corrupt(artefact, x, severity=4, ids=IDS, seed=0)
    for index, name in enumerate(IDS):
        part = x[index : index + 1]
        alone, _ = batched.corrupt(artefact, part, severity=4, ids=(name,), seed=0)
        assert float((alone[0] - whole[index]).abs().max()) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("artefact", PAIRS, ids=lambda artefact: artefact.name)
def test_it_equals_torchio_on_a_device(artefact: Artefact) -> None:
    x = volumes(1, 28, 28, 28)
    made, _ = batched.corrupt(artefact, x.cuda(), severity=5, ids=IDS, seed=0)
    for volume, one, name in zip(x, made.cpu(), IDS, strict=True):
        expected = artefact(volume, severity=5, id=name, seed=0).volume
        assert float((one - expected).abs().max()) < 1e-4


def test_a_level_that_does_not_exist_and_an_empty_volume_are_one_line() -> None:
    x = volumes(1, 8, 8, 8)
    with pytest.raises(BenchError, match="has no level 6"):
        batched.corrupt(PAIRS[0], x, severity=6, ids=IDS, seed=0)
    x[2] = 0
    with pytest.raises(BenchError, match="volume 'set/test/2': every voxel is 0"):
        batched.corrupt(PAIRS[0], x, severity=1, ids=IDS, seed=0)
