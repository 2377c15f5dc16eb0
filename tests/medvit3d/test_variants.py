"""The named networks: sizes, parameters, logits, gradients, refusals."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import medvit3d
from medvit3d import Architecture, medvit3d_cbam, medvit3d_n, medvit3d_t
from medvit3d.blocks import LocalFeedForward, SelfAttention
from medvit3d.layers import DropPath, PatchMomentumChanger

FACTORIES = [getattr(medvit3d, f"medvit3d_{name}") for name in ("t", "s", "l", "n", "cbam")]
SMALL_FACTORIES = [medvit3d_n, medvit3d_cbam]
SIZES = [(16, 16, 16), (28, 28, 28), (1, 28, 28), (20, 33, 16), (40, 24, 28)]


@pytest.mark.parametrize(
    ("factory", "count"),
    list(zip(FACTORIES, (35_148_026, 50_537_238, 65_926_450, 1_918_557, 870_700), strict=True)),
)
def test_parameters_with_one_channel_and_two_classes(factory, count):
    with torch.device("meta"):
        network = factory(2)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factory", SMALL_FACTORIES)
def test_logits_in_train_and_eval_mode(factory, size, channels):
    torch.manual_seed(0)
    network = factory(5, channels)
    volumes = torch.rand(2, channels, *size) * 100 - 50
    trained = network(volumes)
    with torch.no_grad():
        evaluated = network.eval()(volumes)
    for logits in (trained, evaluated):
        assert logits.shape == (2, 5)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        # Neither probabilities nor their logarithms.
        assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(2), atol=1e-3)


@pytest.mark.parametrize("factory", [medvit3d_t, *SMALL_FACTORIES])
def test_head_is_linear_in_its_weights_in_both_modes(factory):
    network = factory(3)
    network.head.weight.data.zero_()
    network.head.bias.data.copy_(torch.tensor([-3.0, 0.0, 7.0]))
    volumes = torch.rand(2, 1, 16, 16, 16)
    for mode in (True, False):
        with torch.no_grad():
            logits = network.train(mode)(volumes)
        assert torch.equal(logits, network.head.bias.expand(2, 3))


def test_tiny_takes_volumes_of_28():
    with torch.no_grad():
        assert medvit3d_t(4)(torch.rand(2, 1, 28, 28, 28)).shape == (2, 4)


@pytest.mark.slow
@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("size", [(128, 128, 128), (1, 224, 224), (64, 100, 128)], ids=str)
def test_large_volumes(factory, size):
    with torch.no_grad():
        assert factory(2).eval()(torch.rand(1, 1, *size)).isfinite().all()


@pytest.mark.parametrize("factory", SMALL_FACTORIES)
def test_gradients_reach_every_parameter(factory):
    torch.manual_seed(0)
    network = factory(3)
    # Feed-forward branches start at zero, and nothing behind a zero has a gradient.
    for module in network.modules():
        if isinstance(module, LocalFeedForward):
            nn.init.ones_(module.project_norm.weight)
    # 36^3 leaves 2^3 in the last stage, so that its attention has something to choose between.
    network(torch.rand(4, 1, 36, 36, 36)).pow(2).sum().backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert not silent


def keys_seen(network):
    """A list that each pass extends by the number of keys of every self-attention."""
    keys = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.key.register_forward_hook(lambda _, __, output: keys.append(output.shape[1]))
    return keys


def test_every_stage_that_can_has_several_keys_at_28():
    network = medvit3d_n(2).eval()
    keys = keys_seen(network)
    with torch.no_grad():
        network(torch.rand(1, 1, 28, 28, 28))
    assert keys == [64, 8, 1]


def test_sequence_reduction_leaves_one_key_at_28_and_raises_below():
    network = medvit3d_n(2, spatial_reduction="sequence").eval()
    keys = keys_seen(network)
    with torch.no_grad():
        network(torch.rand(1, 1, 28, 28, 28))
        assert keys == [1, 1, 1]
        with pytest.raises(ValueError, match="use larger volumes or spatial_reduction='spatial'"):
            network(torch.rand(1, 1, 16, 16, 16))


def test_drop_path_rises_linearly_to_its_last_block():
    rates = [
        module.probability
        for name, module in medvit3d_n(2, drop_path=0.9).named_modules()
        if isinstance(module, DropPath) and "local" not in name
    ]
    # Self-attention blocks, of stage 2, 3 and 4, take three quarters of their block's rate.
    shares = [1, 1, 0.75, 1, 1, 1, 1, 0.75, 1, 0.75]
    assert rates == pytest.approx([0.1 * i * share for i, share in enumerate(shares)])


def test_momentum_changer_acts_after_stage_1_and_in_training_alone():
    network = medvit3d_n(2, patch_momentum_changer=True)
    assert isinstance(network.momentum_changer, PatchMomentumChanger)
    assert isinstance(medvit3d_n(2).momentum_changer, nn.Identity)
    seen = []
    network.stages[0].register_forward_hook(lambda *_: seen.append("stage 1"))
    network.momentum_changer.register_forward_hook(lambda *_: seen.append("changer"))
    network.stages[1].register_forward_hook(lambda *_: seen.append("stage 2"))
    network(torch.rand(2, 1, 16, 16, 16))
    assert seen == ["stage 1", "changer", "stage 2"]


def test_a_training_batch_of_one_small_volume_is_explained():
    with pytest.raises(ValueError, match="drop a last batch of one"):
        medvit3d_n(2)(torch.rand(1, 1, 28, 28, 28))


@pytest.mark.parametrize("factory", SMALL_FACTORIES)
def test_gradcam_layer_names_a_layer_with_a_grid(factory):
    network = factory(2).eval()
    shapes = []
    layer = network.get_submodule(network.gradcam_layer)
    layer.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    with torch.no_grad():
        network(torch.rand(1, 1, 28, 28, 28))
    assert min(shapes[0][2:]) >= 4


@pytest.mark.parametrize("factory", SMALL_FACTORIES)
def test_state_dicts_are_contiguous_and_load_strictly(factory):
    state = factory(2).state_dict()
    assert all(tensor.is_contiguous() for tensor in state.values())
    factory(2).load_state_dict(state)


@pytest.mark.parametrize("factory", SMALL_FACTORIES)
def test_refusals(factory):
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 1"):
        factory(0)
    with pytest.raises(ValueError, match=r"expected volumes .* got shape \(1, 28, 28, 28\)"):
        factory(2)(torch.rand(1, 28, 28, 28))


def test_option_refusals():
    with pytest.raises(ValueError, match="must be one of spatial, slice_sequence, sequence, got"):
        medvit3d_n(2, spatial_reduction="slices")
    with pytest.raises(ValueError, match=r"the third a multiple of 5, got \(1, 1, 4, 1\)"):
        Architecture(depths=(1, 1, 4, 1))


def test_library_imports_neither_harness_nor_baselines():
    code = (
        "import sys, medvit3d.weights; "
        "print([n for n in sys.modules if n.split('.')[0] in ('benchharness', 'baselines', "
        "'torchvision', 'monai')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
