"""The convolutions' own gradients against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from medvit3d.convolution import GroupedConv3d, PointwiseConv3d, grouped_conv3d

# batch, channels, channels per group, grid: depthwise and grouped, every way of computing the
# kernel's gradient, axes of one slice and grids smaller than the kernel.
CASES = [
    pytest.param(2, 6, 1, (5, 4, 3), id="depthwise"),
    pytest.param(2, 6, 1, (2, 2, 2), id="depthwise-2"),
    pytest.param(2, 6, 1, (1, 5, 4), id="depthwise-image"),
    pytest.param(3, 6, 1, (1, 1, 1), id="depthwise-1"),
    pytest.param(8, 64, 32, (4, 3, 5), id="grouped"),
    pytest.param(8, 64, 32, (2, 2, 2), id="grouped-2"),
    pytest.param(8, 64, 32, (1, 4, 4), id="grouped-image"),
    pytest.param(8, 64, 32, (1, 1, 1), id="grouped-1"),
    pytest.param(3, 64, 32, (4, 3, 5), id="grouped-odd-batch"),
    pytest.param(8, 64, 32, (3, 3, 9), id="grouped-large"),
]


class RecordedOperators(TorchDispatchMode):
    """Names of the operators that ran inside, those of the backward pass included."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("batch", "channels", "per_group", "grid"), CASES)
@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last_3d], ids=["first", "last"]
)
def test_gradients_equal_autograds(batch, channels, per_group, grid, layout):
    torch.manual_seed(0)
    features = torch.randn(batch, channels, *grid).to(memory_format=layout).requires_grad_()
    layer = GroupedConv3d(channels, channels_per_group=per_group)
    expected = F.conv3d(features, layer.weight, padding=1, groups=layer.groups)
    gradient = torch.randn_like(expected)
    inputs = (features, layer.weight)

    output = layer(features)
    ours = torch.autograd.grad(output, inputs, gradient)
    theirs = torch.autograd.grad(expected, inputs, gradient)

    for actual, wanted in zip((output, *ours), (expected, *theirs), strict=True):
        assert actual.shape == wanted.shape
        assert (actual - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(
    ("batch", "channels", "groups", "grid"),
    [(2, 3, 3, (3, 2, 4)), (2, 2, 2, (1, 3, 3)), (8, 4, 2, (2, 3, 2)), (3, 4, 2, (3, 2, 2))],
)
def test_gradcheck(batch, channels, groups, grid):
    torch.manual_seed(0)
    kernel_size = [1 if size == 1 else 3 for size in grid]
    features = torch.randn(batch, channels, *grid, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(
        channels, channels // groups, *kernel_size, dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda x, w: grouped_conv3d(x, w, groups), (features, kernel))


@pytest.mark.parametrize("per_group", [1, 32])
def test_input_gradient_of_a_frozen_layer_is_one_forward_convolution(per_group):
    layer = GroupedConv3d(32, channels_per_group=per_group).requires_grad_(False)
    features = torch.rand(2, 32, 4, 4, 4, requires_grad=True)
    with RecordedOperators() as recorded:
        layer(features).sum().backward()
    assert recorded.names.count("convolution") == 2
    assert "convolution_backward" not in recorded.names
    assert "mul" not in recorded.names


def test_taps_that_only_meet_padding_get_zero_gradient():
    layer = GroupedConv3d(4, channels_per_group=1)
    layer(torch.rand(2, 4, 1, 3, 3)).sum().backward()
    gradient = layer.weight.grad
    assert gradient.shape == (4, 1, 3, 3, 3)
    assert gradient[:, :, [0, 2]].abs().max() == 0
    assert gradient[:, :, 1].abs().min() > 0


def test_autocast_uses_torchs_own_convolution():
    layer = GroupedConv3d(4, channels_per_group=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(torch.rand(2, 4, 3, 3, 3))
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_pointwise_convolution_equals_torchs():
    torch.manual_seed(0)
    layer = PointwiseConv3d(5, 7)
    features = torch.randn(2, 5, 3, 4, 2, requires_grad=True)
    expected = F.conv3d(features, layer.weight)
    torch.testing.assert_close(layer(features), expected)
    gradient = torch.randn_like(expected)
    inputs = (features, layer.weight)
    torch.testing.assert_close(
        torch.autograd.grad(layer(features), inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
    )
