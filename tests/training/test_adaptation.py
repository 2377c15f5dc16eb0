"""Adaptation without labels, against closed forms and numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchharness.errors import BenchError, CellError
from benchharness.networks import per_volume
from benchharness.networks.building import build_network
from benchharness.networks.classifier import Classifier
from benchharness.store.cells import ModelKey
from benchharness.training import adaptation, features
from tests import samples


def test_the_gradient_is_reversed_and_scaled_and_values_stay() -> None:
    point = torch.tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True)
    passed = adaptation.reversed_gradient(point, 0.25)
    assert torch.equal(passed, point)
    # d/dx of Σ x² is 2x.
    passed.square().sum().backward()
    assert point.grad is not None
    assert torch.allclose(point.grad, -0.25 * 2 * point.detach())


def test_lambda_follows_the_paper() -> None:
    assert adaptation.reversal(0.0) == 0.0
    assert adaptation.reversal(0.5) == pytest.approx(math.tanh(2.5))
    assert adaptation.reversal(1.0) == pytest.approx(0.9999, abs=1e-4)


def test_the_discriminator_descends_while_the_features_ascend() -> None:
    judge = nn.Linear(1, 1, bias=False)
    nn.init.ones_(judge.weight)
    source = torch.tensor([[1.0]], requires_grad=True)
    target = torch.tensor([[2.0]], requires_grad=True)
    adaptation.confusion(judge, source, target, 0.5).backward()
    # The mean of −log σ(w s) and −log(1 − σ(w t)), w = 1.
    wanted = (1.0 * (_sigmoid(1.0) - 1) + 2.0 * _sigmoid(2.0)) / 2
    assert judge.weight.grad is not None
    assert judge.weight.grad.item() == pytest.approx(wanted)
    assert source.grad is not None
    assert target.grad is not None
    assert source.grad.item() == pytest.approx(-0.5 * (_sigmoid(1.0) - 1) / 2)
    assert target.grad.item() == pytest.approx(-0.5 * _sigmoid(2.0) / 2)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_coral_is_the_paper_s_formula() -> None:
    draws = np.random.Generator(np.random.PCG64(0))
    source, target = draws.normal(size=(9, 4)), draws.normal(size=(7, 4)) * [1, 2, 3, 4]
    gap = np.cov(source, rowvar=False) - np.cov(target, rowvar=False)
    wanted = (gap**2).sum() / (4 * 4**2)
    found = adaptation.coral(torch.from_numpy(source), torch.from_numpy(target))
    assert found.item() == pytest.approx(wanted)
    assert adaptation.coral(torch.from_numpy(source), torch.from_numpy(source)).item() == 0


def test_coral_s_gradient_on_one_feature() -> None:
    # d = 1: (v_s − v_t)² / 4, and dv_s/dx_i = 2 (x_i − mean) / (n − 1).
    source = torch.tensor([[0.0], [2.0]], requires_grad=True)
    target = torch.tensor([[0.0], [1.0]])
    adaptation.coral(source, target).backward()
    assert source.grad is not None
    assert source.grad.flatten().tolist() == pytest.approx([-1.5, 1.5])


def test_entropy_of_known_predictions() -> None:
    even, sure = torch.zeros(1, 4), torch.tensor([[100.0, 0.0, 0.0, 0.0]])
    assert adaptation.entropy(even).item() == pytest.approx(math.log(4))
    assert adaptation.entropy(sure).item() == pytest.approx(0.0, abs=1e-6)
    assert adaptation.entropy(torch.cat([even, sure])).item() == pytest.approx(math.log(4) / 2)


def test_adabn_s_statistics_are_those_of_the_volumes() -> None:
    draws = np.random.Generator(np.random.PCG64(1))
    volumes = draws.normal(3, 2, size=(10, 2, 3, 3, 3)).astype(np.float32)
    network = nn.Sequential(nn.BatchNorm3d(2, momentum=0.3), nn.Dropout(0.5))
    before = [parameter.clone() for parameter in network.parameters()]
    parts = [volumes[:4], volumes[4:8], volumes[8:]]
    adaptation.restate(network, [torch.from_numpy(part) for part in parts])
    weights = np.array([4, 4, 2]) / 10
    means = np.stack([part.mean(axis=(0, 2, 3, 4)) for part in parts])
    spreads = np.stack([part.var(axis=(0, 2, 3, 4), ddof=0) for part in parts])
    unbiased = (
        spreads
        * np.array([[4 * 27], [4 * 27], [2 * 27]])
        / (np.array([[4 * 27], [4 * 27], [2 * 27]]) - 1)
    )
    layer = network[0]
    assert isinstance(layer, nn.BatchNorm3d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    np.testing.assert_allclose(layer.running_mean.numpy(), weights @ means, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), weights @ unbiased, rtol=1e-5)
    assert layer.momentum == 0.3
    assert not layer.training
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_methods_say_what_a_network_lacks() -> None:
    with pytest.raises(CellError, match="adabn changes BatchNorm's statistics, and there is none"):
        adaptation.restate(nn.Linear(2, 2), [])
    with pytest.raises(CellError, match="entropy changes normalisations alone"):
        list(adaptation.affine(nn.Linear(2, 2)))
    with pytest.raises(BenchError, match="unknown adaptation 'tent'"):
        adaptation.find("tent")


def test_the_last_layer_is_found_by_what_it_is_given() -> None:
    network = samples.tiny(2)
    shown = Classifier(network, num_classes=2)
    volumes = torch.rand(3, 1, 12, 12, 12)
    name, layer = features.last_linear(shown, volumes)
    assert name == "head"
    with features.captured(layer) as found:
        network.eval()(volumes)
    assert torch.equal(found[0], network.features(volumes))  # type: ignore[operator]
    pooled = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    with pytest.raises(CellError, match=r"gives its 2 logits by no nn\.Linear"):
        features.last_linear(Classifier(pooled, num_classes=2), volumes)


def test_each_volume_is_normalised_by_itself() -> None:
    model = ModelKey(
        name="tiny", factory=per_volume.FACTORY, arguments=(("network", "tests.samples:tiny"),)
    )
    network = build_network(model, num_classes=2, in_channels=1)
    (layer,) = (m for m in network.modules() if isinstance(m, per_volume.PerVolumeNorm))
    maps = torch.rand(2, 6, 4, 4, 4)
    with torch.no_grad():
        layer.usual.weight.fill_(2.0)
        layer.usual.bias.fill_(0.5)
    own = maps.flatten(2)
    deviation = (own.var(2, unbiased=False) + layer.usual.eps).sqrt()[:, :, None]
    wanted = 2 * (own - own.mean(2, keepdim=True)) / deviation + 0.5
    assert torch.allclose(layer(maps).flatten(2), wanted, atol=1e-5)
    # Gain and offset of a volume are gone, whatever else is in the batch.
    network.eval()
    volumes = torch.rand(2, 1, 12, 12, 12)
    changed = torch.stack([volumes[0] * 0.5 + 0.2, volumes[1]])
    normed = nn.Sequential(layer)
    one = torch.rand(1, 6, 4, 4, 4)
    assert torch.allclose(normed(one), normed(one * 3 + 1), atol=1e-3)
    assert torch.allclose(network(volumes)[1], network(changed)[1], atol=1e-6)
    # Fewer than 8 voxels have no statistics worth the name.
    layer.eval()
    small = torch.rand(2, 6, 1, 1, 1)
    assert torch.equal(layer(small), layer.usual(small))


@pytest.mark.parametrize("name", ["medvit3d_n", "resnet3d_18"])
def test_networks_of_the_registry_take_it(name: str) -> None:
    from benchharness import registry

    factory = registry.resolve("models", name).target
    model = ModelKey(name=name, factory=per_volume.FACTORY, arguments=(("network", factory),))
    network = build_network(model, num_classes=4, in_channels=1)
    shown = Classifier(network, num_classes=4).for_evaluation()
    assert shown.network is network
    with shown.frozen(), torch.no_grad():
        assert shown(torch.rand(2, 1, 28, 28, 28)).isfinite().all()
    assert features.last_linear(shown, torch.rand(2, 1, 28, 28, 28))[1].out_features == 4
