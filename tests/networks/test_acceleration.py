"""An accelerated network answers as the given one does, and the given one stays as it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchharness.networks.acceleration import SubPixelConv3d, accelerated
from benchharness.networks.small_grids import SmallGridConv3d

CPU = torch.device("cpu")


class Sliced(nn.Conv3d):
    """Computes something else than its class."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        return super().forward(input)[:, :, ::2]


class Network(nn.Module):
    """A strided first convolution and a head; offers a folded copy."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.head = nn.Linear(6, 2)

    def folded(self) -> nn.Module:
        return copy.deepcopy(self).eval().requires_grad_(requires_grad=False)

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(volumes).sin().mean(dim=(2, 3, 4)))
        return logits


def conv(kernel: int = 3, stride: int = 2, padding: int = 1, channels: int = 1) -> nn.Conv3d:
    with torch.random.fork_rng():
        torch.manual_seed(kernel)
        return nn.Conv3d(channels, 6, kernel, stride, padding).double().requires_grad_(False)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 2, 1), (7, 2, 3), (3, 2, 0), (4, 4, 0), (5, 3, 2), (1, 2, 0), (3, 3, 3), (2, 3, 1)],
)
def test_the_gradient_is_that_of_torch(
    kernel: int, stride: int, padding: int, channels: int
) -> None:
    given = conv(kernel, stride, padding, channels)
    for grid in ((12, 13, 17), (28, 28, 28)):
        point = torch.rand(2, channels, *grid, dtype=torch.float64, requires_grad=True)
        expected, found = given(point), SubPixelConv3d(given)(point)
        torch.testing.assert_close(found, expected)
        weights = torch.rand_like(expected)
        for answers in (expected, found):
            answers.backward(weights)
        assert point.grad is not None
        (by_torch,) = torch.autograd.grad(given(point), point, weights)
        torch.testing.assert_close(point.grad, 2 * by_torch)


def test_each_axis_has_its_own_stride_kernel_and_padding() -> None:
    given = nn.Conv3d(1, 4, (1, 3, 5), (1, 2, 3), (0, 1, 2)).double().requires_grad_(False)
    point = torch.rand(2, 1, 3, 11, 16, dtype=torch.float64, requires_grad=True)
    expected = given(point)
    weights = torch.rand_like(expected)
    (by_torch,) = torch.autograd.grad(expected, point, weights)
    (ours,) = torch.autograd.grad(SubPixelConv3d(given)(point), point, weights)
    torch.testing.assert_close(ours, by_torch)


def test_the_first_convolution_is_replaced_in_the_copy_alone() -> None:
    network = Network(nn.Conv3d(1, 6, 3, 2, 1))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    quick = accelerated(network, CPU)
    assert isinstance(quick.conv, SubPixelConv3d)
    assert type(network.conv) is nn.Conv3d
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    volumes = torch.rand(3, 1, 9, 10, 11)
    torch.testing.assert_close(quick(volumes), network(volumes))


@pytest.mark.parametrize(
    "left",
    [
        nn.Conv3d(2, 6, 3, 2, 1, groups=2),
        nn.Conv3d(1, 6, 3, 2, 2, dilation=2),
        nn.Conv3d(1, 6, 3, 2, 1, padding_mode="reflect"),
        nn.Conv3d(1, 6, 1, 1, "same"),
        Sliced(1, 6, 3, 2, 1),
    ],
    ids=["groups", "dilated", "reflecting", "same", "subclass"],
)
def test_other_convolutions_are_left(left: nn.Conv3d) -> None:
    network = Network(left)
    quick = accelerated(network, CPU)
    assert type(quick.conv) is type(left)
    volumes = torch.rand(2, left.in_channels, 9, 10, 11)
    torch.testing.assert_close(quick(volumes), network(volumes))


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2), (1, 2, 4), (2, 1, 3), (3, 3, 3), (4, 4, 4)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (5, 3, 2)]
)
def test_small_grids_have_the_output_and_the_gradient_of_torch(
    grid: tuple[int, int, int], batch: int, kernel: int, stride: int, padding: int
) -> None:
    given = conv(kernel, stride, padding, channels=5)
    point = torch.rand(batch, 5, *grid, dtype=torch.float64, requires_grad=True)
    expected, found = given(point), SmallGridConv3d(given)(point)
    torch.testing.assert_close(found, expected)
    weights = torch.rand_like(expected)
    (by_torch,) = torch.autograd.grad(expected, point, weights)
    (ours,) = torch.autograd.grad(found, point, weights)
    torch.testing.assert_close(ours, by_torch)


def test_small_grids_in_float32_and_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SmallGridConv3d(nn.Conv3d(4, 6, 3, 1, 1, bias=False).requires_grad_(False))
    point = torch.rand(8, 4, 2, 2, 2)
    expected = given.conv(point)
    torch.testing.assert_close(given(point), expected)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    torch.testing.assert_close(given(point), expected)


@pytest.mark.parametrize("channels", [5, 1])
def test_other_plain_convolutions_are_watched_for_small_grids(channels: int) -> None:
    network = Network(nn.Conv3d(channels, 6, 3, 1, 1))
    quick = accelerated(network, CPU)
    assert isinstance(quick.conv, SmallGridConv3d)
    for grid in ((2, 2, 2), (9, 10, 11)):
        volumes = torch.rand(9, channels, *grid)
        torch.testing.assert_close(quick(volumes), network(volumes))


def test_a_network_that_offers_nothing_is_taken_as_it_is() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3, 2), nn.Flatten(), nn.Linear(16, 2))
    assert accelerated(network.requires_grad_(requires_grad=False), CPU) is network
    assert type(network[0]) is nn.Conv3d


def test_a_network_that_folds_to_itself_is_not_changed() -> None:
    network = Network(nn.Conv3d(1, 6, 3, 2, 1))
    network.folded = lambda: network  # type: ignore[method-assign]
    assert accelerated(network.requires_grad_(requires_grad=False), CPU) is network
    assert type(network.conv) is nn.Conv3d
