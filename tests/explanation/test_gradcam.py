"""Grad-CAM: the right map for every volume of a batch, for every network, which stays untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from benchharness import registry
from benchharness.errors import BenchError, CellError
from benchharness.explanation.gradcam import GradCAM, layer_of
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class TwoCorners(nn.Module):
    """Channel k of its layer shows quadrant k of the volume; class k reads channel k."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.AvgPool3d(2), nn.Conv3d(1, 2, 1, bias=False))
        nn.init.ones_(self.stage[1].weight)  # type: ignore[arg-type]
        self.act = nn.ReLU(inplace=True)

    def forward(self, volumes: Tensor) -> Tensor:
        features = self.act(self.stage(volumes))
        depth = features.shape[2] // 2
        first = features[:, 0, :depth].mean(dim=(1, 2, 3))
        second = features[:, 1, depth:].mean(dim=(1, 2, 3))
        return torch.stack([first, second], dim=1)


def volumes(count: int = 2, size: int = 8) -> Tensor:
    return torch.rand((count, 1, size, size, size), generator=torch.Generator().manual_seed(0))


def test_a_map_is_the_formula_interpolated() -> None:
    """α = mean gradient of the class's logit per channel; map = ReLU(Σ α · channel)."""
    network = samples.tiny(3).eval()
    inputs = volumes(2, 12)
    kept: list[Tensor] = []
    layer = network.get_submodule("features.4")
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    logits = network(inputs)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), kept[0])
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
    expected = (weights * kept[0]).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(expected, (12, 12, 12), mode="trilinear")[:, 0]
    found = GradCAM(Classifier(network, num_classes=3), "features.4")(inputs, np.asarray([2, 2]))
    torch.testing.assert_close(torch.from_numpy(found.maps), expected.detach())
    torch.testing.assert_close(torch.from_numpy(found.logits), logits.detach())
    assert found.grid == (6, 6, 6)


def test_each_volume_of_a_batch_is_explained_for_its_own_class() -> None:
    classifier = Classifier(samples.tiny(3), num_classes=3)
    cam = GradCAM(classifier, "features.4")
    inputs, classes = volumes(3, 12), np.asarray([2, 0, 1])
    together = cam(inputs, classes)
    for index in range(3):
        alone = cam(inputs[index : index + 1], classes[index : index + 1])
        np.testing.assert_allclose(together.maps[index], alone.maps[0], rtol=1e-4, atol=1e-7)
    other = cam(inputs, np.asarray([0, 0, 0]))
    assert not np.allclose(together.maps[0], other.maps[0])


def test_without_classes_what_is_predicted_is_explained() -> None:
    cam = GradCAM(Classifier(samples.tiny(3), num_classes=3), "features.4")
    found = cam(volumes(3, 12))
    again = cam(volumes(3, 12), found.logits.argmax(axis=1))
    np.testing.assert_array_equal(found.maps, again.maps)


def test_high_means_where_the_class_is_and_layers_in_place_do_no_harm() -> None:
    """A layer followed by an activation in place, which full backward hooks do not survive."""
    network = TwoCorners()
    bright = torch.zeros(1, 1, 8, 8, 8)
    bright[0, 0, 1, 1, 1] = 1
    cam = GradCAM(Classifier(network, num_classes=2), "stage")
    found = cam(bright.repeat(2, 1, 1, 1, 1), np.asarray([0, 1]))
    assert np.unravel_index(found.maps[0].argmax(), (8, 8, 8)) in [(0, 0, 0), (1, 1, 1)]
    assert found.maps.min() == 0
    assert network.act.inplace


def test_the_map_has_the_grid_of_the_volume_not_of_the_preprocessing() -> None:
    preprocessing = Preprocessing(size=(6, 6, 6), mean=0.5, std=0.2)
    cam = GradCAM(Classifier(samples.tiny(2), preprocessing, num_classes=2), "features.4")
    assert cam(volumes(1, 12), np.zeros(1, np.int64)).maps.shape == (1, 12, 12, 12)


def state(network: nn.Module) -> dict[str, Any]:
    """Everything that explaining could leave behind."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        name: (
            module.training,
            getattr(module, "inplace", None),
            module._is_full_backward_hook,
            *(len(getattr(module, hook)) for hook in hooks),
            [(p.requires_grad, p.grad is None) for p in module.parameters(recurse=False)],
        )
        for name, module in network.named_modules()
    }


@pytest.mark.parametrize("name", sorted(registry.entries("models")))
def test_every_network_of_the_registry_can_be_explained(name: str) -> None:
    factory: Callable[..., nn.Module] = registry.load("models", name)
    network = factory(2, in_channels=1)
    next(network.parameters()).requires_grad_(requires_grad=False)
    next(network.modules()).train()
    before, weights = state(network), [p.clone() for p in network.parameters()]
    classifier = Classifier(network, num_classes=2)
    cam = GradCAM(classifier, layer_of(network, name))
    size = 16 if name.startswith("medmnist") else 28
    (volume,) = volumes(1, size)
    grid = cam.check(volume, name)
    found = cam(volume[None], np.ones(1, np.int64))
    assert found.maps.shape == (1, size, size, size)
    assert np.isfinite(found.maps).all()
    assert found.maps.min() >= 0
    assert min(grid) >= (2 if size == 16 else 4)
    assert state(network) == before
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


def test_a_network_that_names_no_layer_is_told_how() -> None:
    plain = nn.Sequential(nn.Conv3d(1, 2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    with pytest.raises(BenchError, match=r"'plain' names no layer .*: --layer plain=LAYER\.$"):
        layer_of(plain, "plain")
    assert layer_of(plain, "plain", "0") == "0"
    with pytest.raises(BenchError, match=r"'plain' has no layer 'conv'\. Its outermost .*: 0, 1"):
        layer_of(plain, "plain", "conv")
    wrong = samples.tiny(2)
    with pytest.raises(BenchError, match=r"no layer 'featurs.4'. Did you mean 'features.4'"):
        layer_of(wrong, "tiny", "featurs.4")
    assert layer_of(wrong, "tiny") == "features.4"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("features.6", r"has a grid of 1 × 1 × 1 for these volumes: its map is the same"),
        ("features.7", r"Grad-CAM at layer 'features.7' failed.*--layer tiny=LAYER"),
        ("head", r"Grad-CAM at layer 'head' failed"),
    ],
)
def test_a_layer_without_a_grid_is_refused(layer: str, message: str) -> None:
    cam = GradCAM(Classifier(samples.tiny(2), num_classes=2), layer)
    with pytest.raises(BenchError, match=message) as caught:
        cam.check(volumes(1, 12)[0], "tiny")
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_copied_is_an_error() -> None:
    network = samples.tiny(2)
    network.note = network.head.weight * 2  # type: ignore[operator]
    with pytest.raises(CellError, match="cannot be copied to be explained"):
        GradCAM(Classifier(network, num_classes=2), "features.4")


class Detached(nn.Module):
    """Gradients do not reach its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1)
        self.head = nn.Linear(1, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.conv(inputs).detach()
        logits: Tensor = self.head(inputs.mean(dim=(2, 3, 4)))
        return logits + seen.mean()


def test_a_layer_that_gradients_do_not_reach_is_an_error() -> None:
    cam = GradCAM(Classifier(Detached(), num_classes=2), "conv")
    with pytest.warns(UserWarning, match="not triggered"), pytest.raises(CellError, match="failed"):
        cam(volumes(1, 8), np.zeros(1, np.int64))
