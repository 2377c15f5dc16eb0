"""Norms: sizes, projections, directions, and the budgets that they accept."""

from __future__ import annotations

import pytest
import torch

from benchharness.attacks.core.norms import L0_COUNT, L2_RMS, LINF, NORMS, TOLERANCE, norm_named
from benchharness.errors import BenchError
from tests.attacks.attack_networks import volumes_like

CLEAN = volumes_like(4, (2, 5, 6, 7))
FAR = CLEAN + torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(2))
SLAB, CUBE = NORMS["slab"], NORMS["cube"]


def test_sizes_have_their_meaning() -> None:
    delta = torch.zeros(1, 2, 4, 4, 4)
    delta[0, 0, 1, 2, 3] = -0.5
    delta[0, 1, 1, 2, 3] = 0.25
    delta[0, 1, 3, 2, 3] = 0.1
    assert LINF.size(delta).item() == pytest.approx(0.5)
    expected = ((0.25 + 0.0625 + 0.01) / 128) ** 0.5
    assert L2_RMS.size(delta).item() == pytest.approx(expected, rel=1e-6)
    assert L0_COUNT.size(delta).item() == 2
    assert SLAB.size(delta).item() == 1
    assert CUBE.size(delta).item() == 3
    for norm in NORMS.values():
        assert norm.size(torch.zeros_like(delta)).item() == 0


def test_l2_means_the_same_at_any_size() -> None:
    for size in (4, 8):
        assert L2_RMS.size(torch.full((1, 1, size, size, size), 0.1)).item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("norm", "severity"), [(LINF, 0.1), (L2_RMS, 0.1), (L0_COUNT, 9)], ids=["linf", "l2", "l0"]
)
def test_projections(norm: object, severity: float) -> None:
    inside = norm.project(FAR, CLEAN, severity)
    assert norm.size(inside - CLEAN).max() <= severity + TOLERANCE
    assert inside.min() >= 0
    assert inside.max() <= 1
    again = norm.project(inside, CLEAN, severity)
    torch.testing.assert_close(again, inside, atol=1e-7, rtol=0)
    assert torch.equal(norm.project(CLEAN, CLEAN, severity), CLEAN)


def test_l2_projection_is_exact_where_the_range_does_not_bind() -> None:
    clean = torch.full((1, 1, 3, 3, 3), 0.5)
    far = clean + torch.linspace(-0.3, 0.3, 27).view_as(clean)
    near = L2_RMS.project(far, clean, 0.05)
    assert L2_RMS.size(near - clean).item() == pytest.approx(0.05)
    delta, wanted = (near - clean).flatten(), (far - clean).flatten()
    assert torch.cosine_similarity(delta, wanted, dim=0).item() == pytest.approx(1, abs=1e-5)


def test_l0_projection_keeps_the_largest_changes() -> None:
    clean = torch.full((1, 1, 1, 1, 4), 0.5)
    far = clean + torch.tensor([0.1, -0.4, 0.3, 0.2]).view_as(clean)
    kept = L0_COUNT.project(far, clean, 2) - clean
    assert kept.flatten().tolist() == pytest.approx([0, -0.4, 0.3, 0])


@pytest.mark.parametrize("scale", [1.0, 1e-30])
@pytest.mark.parametrize("norm", [LINF, L2_RMS], ids=["linf", "l2"])
def test_directions_have_norm_one_however_small_the_gradient(norm: object, scale: float) -> None:
    gradient = FAR * scale
    gradient[1] = 0
    for direction in (norm.steepest(gradient), norm.spread(gradient)):
        sizes = norm.size(direction)
        assert torch.allclose(sizes[[0, 2, 3]], torch.ones(3).double(), rtol=1e-5)
        assert sizes[1] == 0


@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan"), 8])
@pytest.mark.parametrize("name", ["linf", "l2"])
def test_budgets_are_intensities(name: str, severity: float) -> None:
    with pytest.raises(BenchError, match="a budget is an intensity from 0 to 1, received"):
        norm_named(name).check(severity)
    norm_named(name).check(0)
    norm_named(name).check(1.0)


@pytest.mark.parametrize("severity", [-1, 0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["l0", "slab", "cube"])
def test_counts_are_whole_numbers(name: str, severity: float) -> None:
    with pytest.raises(BenchError, match="a sparse attack counts in whole numbers from 0, receiv"):
        norm_named(name).check(severity)
    norm_named(name).check(0)
    norm_named(name).check(12)


def test_unknown_norm() -> None:
    with pytest.raises(BenchError, match=r"unknown norm 'l3'\. Did you mean"):
        norm_named("l3")
