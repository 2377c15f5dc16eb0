"""Layers of MedViT-3D, each against what its formula says."""

import pytest
import torch

from medvit3d.layers import BatchNorm, ConvNormAct, DropPath, PatchMomentumChanger, SqueezeExcite


def test_conv_norm_act_halves_the_grid_rounding_up():
    assert ConvNormAct(1, 4, stride=2)(torch.rand(2, 1, 7, 8, 1)).shape == (2, 4, 4, 4, 1)


def test_batch_norm_explains_a_batch_of_one_at_one_voxel():
    norm = BatchNorm(4)
    with pytest.raises(ValueError, match=r"more than one value per channel.*at least two volumes"):
        norm(torch.rand(1, 4, 1, 1, 1))
    assert norm.eval()(torch.rand(1, 4, 1, 1, 1)).shape == (1, 4, 1, 1, 1)


def test_squeeze_excite_scales_whole_channels_by_gates_in_the_unit_interval():
    torch.manual_seed(0)
    features = torch.rand(2, 6, 3, 3, 3) + 0.5
    gates = SqueezeExcite(6, 3)(features) / features
    assert torch.allclose(gates, gates[:, :, :1, :1, :1].expand_as(gates))
    assert 0 <= gates.min() < gates.max() <= 1


def test_drop_path_drops_whole_volumes_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = DropPath(0.25)(torch.ones(4000, 2, 1, 1, 1))
    kept = dropped[:, 0].flatten()
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert torch.allclose(kept[kept > 0], torch.tensor(4 / 3))
    assert kept.mean() == pytest.approx(1, abs=0.03)


def test_drop_path_is_the_identity_in_evaluation():
    branch = torch.rand(4, 2, 1, 1, 1)
    assert DropPath(0.9).eval()(branch) is branch


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_drop_path_refuses_what_is_no_probability(probability):
    with pytest.raises(ValueError, match=r"drop_path must be in \[0, 1\), got"):
        DropPath(probability)


def test_momentum_changer_permutes_moments_and_keeps_content():
    torch.manual_seed(0)
    scale = torch.arange(1.0, 7.0).reshape(6, 1, 1, 1, 1)
    features = torch.randn(6, 3, 4, 4, 4) * scale + 10 * scale
    changed = PatchMomentumChanger()(features)

    def moments(x):
        return torch.stack([x.mean(dim=(2, 3, 4)), x.std(dim=(2, 3, 4))], dim=2)

    def content(x):
        centred = x - x.mean(dim=(2, 3, 4), keepdim=True)
        return centred / centred.std(dim=(2, 3, 4), keepdim=True)

    distances = torch.cdist(moments(changed).flatten(1), moments(features).flatten(1))
    nearest, order = distances.min(dim=1)
    assert nearest.max() < 1e-2
    assert sorted(order.tolist()) == list(range(6))
    assert order.tolist() != list(range(6))
    torch.testing.assert_close(content(changed), content(features), rtol=1e-3, atol=1e-3)


def test_momentum_changer_is_the_identity_in_evaluation():
    features = torch.rand(4, 2, 3, 3, 3)
    assert PatchMomentumChanger().eval()(features) is features
