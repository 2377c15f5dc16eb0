"""Weights carried over: twins agree on slices, channels and heads are reconciled, misfits told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from baselines._monai import monai_networks
from baselines.densenet import densenet3d_121
from baselines.resnet import medmnist_resnet3d_18, resnet3d_18
from benchharness.training import carrying
from medvit3d import medvit3d_cbam, medvit3d_n
from medvit3d.network import MedViT3D
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


def slices(channels: int = 1, size: int = 32) -> Tensor:
    draws = torch.Generator().manual_seed(5)
    return torch.rand(2, channels, 1, size, size, generator=draws)


def lively(network: nn.Module) -> nn.Module:
    """A network in evaluation mode whose normalisations are no identities."""
    draws = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=draws) + 0.5)
    return network.eval()


def resnet2d() -> nn.Module:
    network: nn.Module = monai_networks("resnet").ResNet(
        "basic",
        [2, 2, 2, 2],
        [64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=1,
        num_classes=4,
        bias_downsample=False,
        conv1_t_size=7,
        conv1_t_stride=2,
    )
    return network


def densenet2d() -> nn.Module:
    network: nn.Module = monai_networks("densenet").DenseNet121(
        spatial_dims=2, in_channels=1, out_channels=4
    )
    return network


@pytest.mark.parametrize(
    ("twin", "factory"), [(resnet2d, resnet3d_18), (densenet2d, densenet3d_121)]
)
def test_an_inflated_network_is_its_2d_twin_on_slices(
    twin: Callable[[], nn.Module], factory: Callable[..., nn.Module]
) -> None:
    flat, deep = lively(twin()), factory(4)
    found = carrying.carry(flat.state_dict(), deep.state_dict(), method="centre_slice")
    deep.load_state_dict(found.tensors)
    with torch.no_grad():
        torch.testing.assert_close(
            deep.eval()(slices()), flat(slices()[:, :, 0]), rtol=1e-4, atol=1e-5
        )
    assert not found.drawn
    kernels = [name for name, tensor in deep.state_dict().items() if tensor.ndim == 5]
    assert list(found.adapted) == kernels
    assert set(found.changes) == {"into the central slice"}
    assert len(found.carried) + len(kernels) == len(deep.state_dict())


@pytest.mark.parametrize("factory", [medvit3d_n, medvit3d_cbam, samples.tiny])
def test_a_network_trained_on_slices_answers_them_alike_with_its_central_slices_alone(
    factory: Callable[..., nn.Module],
) -> None:
    trained, cut = lively(factory(4)), factory(4)
    found = carrying.carry(trained.state_dict(), cut.state_dict(), method="centre_slice")
    cut.load_state_dict(found.tensors)
    with torch.no_grad():
        torch.testing.assert_close(cut.eval()(slices()), trained(slices()), rtol=1e-4, atol=1e-5)
    given = trained.state_dict()
    assert found.adapted
    for name in found.adapted:
        kernel, middle = found.tensors[name], given[name].shape[2] // 2
        assert torch.equal(kernel[:, :, middle], given[name][:, :, middle])
        assert int(kernel.count_nonzero()) == int(kernel[:, :, middle].count_nonzero())
        assert bool(given[name][:, :, 0].any())
    assert set(found.changes) == {"cut to the central slice"}


def test_the_mean_keeps_the_sum_over_depth_and_as_is_takes_3d_weights_bit_by_bit() -> None:
    given, deep = samples.tiny(2).state_dict(), samples.tiny(2).state_dict()
    flat = {name: t.sum(2) if t.ndim == 5 else t for name, t in given.items()}
    spread = carrying.carry(flat, deep, method="mean").tensors["features.0.weight"]
    torch.testing.assert_close(spread.sum(2), flat["features.0.weight"])
    torch.testing.assert_close(spread[:, :, 0], spread[:, :, 2])
    found = carrying.carry(given, deep, method="as_is")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in given.items())
    assert found.summary == f"{len(given)} tensors carried"
    with pytest.raises(ValueError, match=r"^features\.0\.weight is \(6, 1, 3, 3\) instead of "):
        carrying.carry(flat, deep, method="as_is")


@pytest.mark.parametrize("factory", [samples.tiny, medvit3d_cbam])
def test_channels_are_reconciled(factory: Callable[..., nn.Module]) -> None:
    grey, colour = lively(factory(3, in_channels=1)), factory(3, in_channels=3)
    found = carrying.carry(grey.state_dict(), colour.state_dict())
    colour.load_state_dict(found.tensors)
    one, three = slices(), slices().expand(-1, 3, -1, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(colour.eval()(three), grey(one), rtol=1e-4, atol=1e-5)
    back = carrying.carry(colour.state_dict(), factory(3, in_channels=1).state_dict())
    first = next(name for name, tensor in back.tensors.items() if tensor.ndim == 5)
    assert found.adapted == back.adapted == (first,)
    assert back.summary.endswith(f"1 adapted ({first} summed over 3 channels)")
    torch.testing.assert_close(back.tensors[first], grey.state_dict()[first])
    with pytest.raises(ValueError, match="is for 3 channels and the network's for 2; only one"):
        carrying.carry(colour.state_dict(), factory(3, in_channels=2).state_dict())


@pytest.mark.parametrize(
    ("factory", "head"),
    [
        (resnet3d_18, "fc"),
        (medvit3d_n, "head"),
        (medvit3d_cbam, "head"),
        (densenet3d_121, "class_layers.out"),
    ],
)
def test_a_head_for_other_classes_or_other_labels_stays_the_networks_own(
    factory: Callable[..., nn.Module], head: str
) -> None:
    with torch.device("meta"):
        given, same, other = (factory(n).state_dict() for n in (4, 4, 2))
    for own, keep in ((other, True), (same, False)):
        found = carrying.carry(given, own, keep_head=keep)
        assert found.drawn == (f"{head}.weight", f"{head}.bias")
        assert all(found.tensors[name] is own[name] for name in found.drawn)
        assert all(found.tensors[name] is given[name] for name in found.carried)
        assert found.summary.endswith(f"2 drawn anew ({head}.weight, {head}.bias)")
        assert not found.adapted
    assert not carrying.carry(given, same).drawn
    named = carrying.carry(given, same, keep_head=False, head=head)
    assert named.drawn == (f"{head}.weight", f"{head}.bias")


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    own = samples.tiny(2).state_dict()
    with pytest.raises(ValueError, match=r"method must be one of centre, as_is, .*, got 'media'"):
        carrying.carry(own, own, method="media")
    with pytest.raises(ValueError, match=r"^1 names are not in both \(first: more\)$"):
        carrying.carry({**own, "more": torch.ones(1)}, own)
    with pytest.raises(ValueError, match="instead of"):
        carrying.carry(samples.wider(2).state_dict(), own)


@pytest.mark.parametrize(
    "factory",
    [resnet3d_18, medmnist_resnet3d_18, densenet3d_121, medvit3d_n, medvit3d_cbam],
)
def test_every_family_trains_on_slices(factory: Callable[..., nn.Module]) -> None:
    network = factory(4).train()
    logits = network(slices(size=28))
    assert logits.shape == (2, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)
    with torch.no_grad():
        assert bool(network.eval()(slices(size=28)).isfinite().all())
    if isinstance(network, MedViT3D):
        with torch.no_grad():
            torch.testing.assert_close(
                network.folded()(slices(size=28)), network(slices(size=28)), rtol=1e-3, atol=1e-4
            )
