"""Faults of magnetic resonance imaging beside TorchIO and beside their formulas."""

import numpy as np
import pytest
import torch
import torchio

from benchharness.artefacts import LEVELS, draws, mr
from benchharness.artefacts.mr import BiasField, Ghosting, Spike
from benchharness.artefacts.transforms import resampled, transformed
from tests.artefacts.phantoms import volumes


@pytest.fixture(scope="module")
def coarse():
    return volumes(28)


def test_ghosting_is_a_plain_call_of_torchio(coarse):
    x = coarse[0]
    made = Ghosting().apply(x.clone(), 4, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    axis = draws.wide_axis(generator, x)
    number = Ghosting.ghosts[draws.integer(generator, 0, 2)]
    intensity = Ghosting.levels[3].intensity
    plain = torchio.Ghosting(num_ghosts=number, axis=axis, intensity=intensity, restore=None)(x)
    assert torch.equal(made, plain)


def test_the_bias_field_has_mean_zero_and_the_level_s_spread_in_the_logarithm():
    ones = torch.ones(1, 28, 21, 9)
    for severity in LEVELS:
        field = BiasField().apply(ones, severity, torch.Generator().manual_seed(severity))
        gain = field.double().log()
        assert abs(float(gain.mean())) < 1e-5
        spread = float(gain.std(unbiased=False))
        assert spread == pytest.approx(BiasField.levels[severity - 1].spread, abs=1e-5)


def test_the_bias_field_s_exponents_are_in_torchio_s_order():
    powers = mr.powers(2)
    for index, power in enumerate(powers):
        coefficients = [0.0] * len(powers)
        coefficients[index] = 0.5
        ones = torch.ones(1, 5, 6, 7)
        field = torchio.BiasField(coefficients=coefficients, order=2)(ones)[0].log()
        axes = [torch.linspace(-1, 1, size) ** exponent for size, exponent in zip((5, 6, 7), power)]  # noqa: B905
        expected = 0.5 * torch.einsum("i,j,k->ijk", *axes)
        torch.testing.assert_close(field, expected, atol=1e-5, rtol=0)


def test_motion_turns_about_the_centre_of_the_grid():
    x = torch.zeros(1, 15, 15, 15)
    x[:, 7, 7, 7] = 1
    motion = torchio.Motion(
        degrees=np.array([[90.0, 0.0, 0.0]]),
        translation=np.zeros((1, 3)),
        times=np.array([0.3]),
        image_interpolation="linear",
    )
    torch.testing.assert_close(transformed(motion, x), x, atol=1e-5, rtol=0)
    # TorchIO's own frame puts the axis of rotation into a corner.
    assert float((motion(x) - x).abs().max()) > 0.1


@pytest.mark.parametrize("shape", [(1, 28, 28, 28), (2, 9, 16, 21), (1, 1, 8, 9)])
def test_a_spike_is_a_stripe_of_the_level_s_amplitude(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    for severity in LEVELS:
        level = Spike.levels[severity - 1]
        made = Spike().apply(x.clone(), severity, torch.Generator().manual_seed(severity))
        stripes = (made - x).double()
        # A cosine has half the square of its amplitude as power, or all of it where it is sampled
        # at its crests alone.
        power = float(stripes.square().mean()) / level.amplitude**2
        assert power == pytest.approx(0.5, abs=1e-3) or power == pytest.approx(1, abs=1e-3)


def test_anisotropy_leaves_the_planes_it_kept(coarse):
    # At a whole factor single slices are taken as they are: two thirds of them change, one stays.
    made = resampled(coarse[0][:, :27], [3.0, 1.0, 1.0], "nearest")
    same = [bool(torch.equal(a, b)) for a, b in zip(made[0], coarse[0][0, :27], strict=True)]
    assert sum(same) == 9
