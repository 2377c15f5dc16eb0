"""The device elsewhere refuses what CUDA refuses, and code that forgets the device is caught."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from benchharness.attacks import Attack
from benchharness.attacks.core.base import Cost
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import names, tiny, volumes_like
from tests.placement.elsewhere import DEVICE, DOWN, READ, SELECT, UP, AstrayError, Elsewhere
from tests.placement.worlds import assert_same_bits, moved

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchharness.attacks.core.base import Batch


def host() -> Tensor:
    return torch.arange(6.0).view(2, 3)


def number() -> Tensor:
    return torch.tensor(2.0)


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "sum with a tensor of the host": lambda x: x + host(),
    "sum of a tensor of the host": lambda x: host() + x,
    "factory without a device": lambda x: x * torch.ones(3),
    "arange without a device": lambda x: x[:, 0] * torch.arange(2),
    "number of the host among others than elementwise": lambda x: torch.stack([x[0, 0], number()]),
    "two numbers of the host": lambda x: torch.addcmul(x, number(), number()),
    "tensor of the host with a number elsewhere": lambda x: host() * x[0, 0],
    "in place on the host": lambda x: host().add_(x),
    "in place on a number of the host": lambda x: number().add_(x[0, 0]),
    "written to the host": lambda x: torch.add(x, 1, out=host()),
    "matrix of the host": lambda x: x @ torch.ones(3, 3),
    "bias of the host": lambda x: nn.functional.linear(x, x, torch.ones(2)),
    "gathered by indices of the host": lambda x: x.gather(1, torch.zeros(2, 1, dtype=torch.int64)),
    "selected by indices of the host": lambda x: x.index_select(0, torch.tensor([1])),
    "masked by a mask of the host": lambda x: x.masked_fill(host() > 1, 0),
    "chosen by a mask of the host": lambda x: torch.where(host() > 1, x, x),
    "indexed on the host by indices elsewhere": lambda x: host()[x[:, 0].long()],
    "assigned from the host by index": lambda x: x.__setitem__(torch.tensor([0]), torch.ones(1, 3)),
    "joined with the host": lambda x: torch.cat([x, host()]),
    "compared with the host": lambda x: torch.equal(x, host()),
    "filled by a generator of the host": lambda x: x.uniform_(generator=torch.Generator()),
    "drawn by a generator of the host": lambda x: torch.rand(
        2, device=x.device, generator=torch.Generator()
    ),
    "data replaced from the host": lambda x: setattr(x, "data", host()),
    "pinned": lambda x: x.pin_memory(),
}

ALLOWED: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, int]]] = {
    "number of the host": (lambda x: x * number() + torch.tensor(1.0), {}),
    "number of the host first": (lambda x: number() / (x + 1), {}),
    "number of the host chosen": (lambda x: torch.where(x > 1, x, number()), {}),
    "masked by a number of the host": (lambda x: x.masked_fill(x > 1, number()), {}),
    "indices of the host": (lambda x: x[torch.tensor([1, 0])], {UP: 1}),
    "a list of indices": (lambda x: x[[1, 0]], {UP: 1}),
    "mask of the host": (lambda x: x[torch.tensor([True, False])], {UP: 1}),
    "mask elsewhere": (lambda x: x[x[:, 0] > 1], {SELECT: 1}),
    "filled by a mask": (lambda x: x.index_put((x > 1,), number()), {}),
    "copied from the host": (lambda x: torch.empty_like(x).copy_(host()), {UP: 1}),
    "made of a list": (lambda x: x.new_tensor([1.0, 2.0]), {UP: 1}),
    "made of a list on a device": (lambda x: torch.tensor([1, 2], device=x.device), {UP: 1}),
    "made elsewhere": (lambda x: x + torch.ones(3, device=x.device), {}),
    "made like another": (lambda x: torch.zeros_like(x).add_(1), {}),
    "moved where it is": (lambda x: x.to(x.device), {}),
    "a view": (lambda x: x.T.reshape(-1)[::2].unfold(0, 2, 1), {}),
    "channels last": (
        lambda x: x.view(1, 2, 1, 1, 3).contiguous(memory_format=torch.channels_last_3d),
        {},
    ),
    "in place on a view": (lambda x: x.clone()[:, 1:].mul_(3), {}),
    "written elsewhere": (lambda x: torch.add(x, 1, out=torch.empty_like(x)), {}),
    "nonzero": (lambda x: (x > 1).nonzero(), {SELECT: 1}),
    "a number to the host": (lambda x: x * x.max().item(), {READ: 1}),
    "a question": (lambda x: x if (x > 0).any() else -x, {READ: 1}),
    "by the host": (lambda x: x.cpu().exp().to(x.device), {DOWN: 1, UP: 1}),
    "as a list": (lambda x: x.new_tensor(x.tolist()), {READ: 1, UP: 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(name: str) -> None:
    with Elsewhere(), pytest.raises((AstrayError, RuntimeError)):
        REFUSED[name](host().to(DEVICE))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows_gives_the_values_of_the_cpu_and_is_counted(name: str) -> None:
    call, crossings = ALLOWED[name]
    with Elsewhere() as world:
        given = host().to(DEVICE)
        world.crossings.clear()
        found = call(given)
    expected = call(host())
    assert_same_bits(found, expected)
    assert (found.dtype, found.stride()) == (expected.dtype, expected.stride())
    assert {kind: world.total(kind) for kind, _ in world.crossings} == crossings


def test_numpy_takes_nothing_from_elsewhere() -> None:
    with Elsewhere():
        tensor = host().to(DEVICE)
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
            tensor.numpy()
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
            np.asarray(tensor)
        np.testing.assert_array_equal(tensor.cpu().numpy(), host())
        assert (tensor.device, tensor.is_cuda, tensor.is_meta) == (DEVICE, False, False)


def test_what_autograd_and_modules_do_works_elsewhere() -> None:
    layer = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.AvgPool3d(2))
    given = volumes_like(2, (1, 4, 4, 4))
    expected = given.clone().requires_grad_()
    copy.deepcopy(layer)(expected).square().sum().backward()
    with Elsewhere():
        placed = copy.deepcopy(copy.deepcopy(layer).to(DEVICE))
        found = given.to(DEVICE).requires_grad_()
        placed(found).square().sum().backward()
        assert {value.device for value in placed.state_dict().values()} == {DEVICE}
        stored = io.BytesIO()
        torch.save(placed.state_dict(), stored)
    assert found.grad is not None
    assert expected.grad is not None
    assert_same_bits(found.grad, expected.grad)
    stored.seek(0)
    for name, value in torch.load(stored, weights_only=True).items():
        assert value.device.type == "cpu"
        torch.testing.assert_close(value, layer.state_dict()[name], rtol=1, atol=1)


class ForgetsItsBuffer(nn.Module):
    """Keeps a tensor as a plain attribute, which no `to` moves."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny(2).network
        self.scale = torch.tensor([1.0, 2.0])

    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes) * self.scale


class ForgetsWhereItCounts(ForgetsItsBuffer):
    """Makes a tensor at every pass."""

    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes) + torch.arange(2)


@pytest.mark.parametrize("network", [ForgetsItsBuffer, ForgetsWhereItCounts])
def test_a_network_that_forgets_the_device_is_caught(network: type[nn.Module]) -> None:
    volumes = volumes_like(3)
    classifier = Classifier(network(), num_classes=2)
    classifier.predict(volumes, 3)
    with (
        Elsewhere(),
        pytest.raises(AstrayError, match="expected all tensors to be on the same device"),
    ):
        moved(classifier).predict(volumes, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetful(Attack):
    """One step, made in a way that works on a CPU."""

    name: ClassVar[str] = "forgetful"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "own implementation"
    summary: ClassVar[str] = "A step."

    way: int = 0

    def cost(self, num_classes: int) -> Cost:
        return Cost(forward=0, backward=0)

    def perturb(self, batch: Batch) -> Tensor:
        volumes = batch.volumes
        shape = volumes.shape
        if self.way == 0:
            return volumes + batch.severity * torch.ones(shape)
        if self.way == 1:
            return volumes + batch.severity * torch.from_numpy(np.ones(shape, np.float32))
        if self.way == 2:
            generator = torch.Generator().manual_seed(0)
            return volumes + torch.empty_like(volumes).uniform_(0, 0.01, generator=generator)
        if self.way == 3:
            return torch.from_numpy(volumes.numpy() + np.float32(batch.severity))
        rows = torch.zeros(len(volumes), dtype=torch.int64)
        return volumes.index_select(0, rows)


@pytest.mark.parametrize("way", range(5))
def test_an_attack_that_forgets_the_device_is_caught(way: int) -> None:
    attack, volumes, labels = Forgetful(way=way), volumes_like(3), torch.zeros(3, dtype=torch.int64)
    severity = 1.0 if way == 4 else 0.02
    attack(tiny(2), volumes, labels, severity=severity, ids=names(3))
    with Elsewhere(), pytest.raises((AstrayError, TypeError)):
        attack(moved(tiny(2)), volumes, labels, severity=severity, ids=names(3))
