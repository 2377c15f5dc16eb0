"""The phantom is the same everywhere, and none of its shortcuts leads to the class."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchharness.datasets import phantom
from benchharness.errors import BenchError

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Made = tuple[Array, Array, Array]

# SHA-256 of volumes, labels and masks, in this order.
GOLDEN = {
    (28, "train"): "a1e47ecce4db917e2b687d16ce30cb010ba46ad53dc2ab04bb1b815510835a56",
    (28, "val"): "eb653b14ccbc10bf7706f9c05ed6d61eb2dcb0274e287aab2d717f8e5fa18de5",
    (28, "test"): "66e4dfe1638fa0f4d18de7a2ee558d99befe55ecc9f0fe1a1a6e6274b574d7a5",
    (64, "train"): "2b14153228f36d36a094caabb9694239c1af961511c5b0d988f245bfc3156ba5",
    (64, "val"): "b8abf69b12b2f2cf720cb3b0aabcad23187a41ba7975bc74d8776787083f712d",
    (64, "test"): "80352822cdb05e7edccd934645e341d7cb934e27fdf5b0f41abe0e5a03c9bbcc",
}
CHANCE = 1 / len(phantom.CLASSES)


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {split: phantom.volumes(split, 28) for split in phantom.SPLIT_SIZES}


@pytest.fixture(scope="module")
def erased() -> dict[str, Made]:
    return {split: phantom.volumes(split, 28, structure=False) for split in ("train", "test")}


def _digest(arrays: Made) -> str:
    images, labels, masks = arrays
    whole = images.tobytes() + labels.astype("<i8").tobytes() + masks.tobytes()
    return hashlib.sha256(whole).hexdigest()


def _voxels(images: Array) -> Array:
    return images.reshape(len(images), -1) / 255.0


def _histograms(images: Array) -> Array:
    """Fractions of voxels in 32 bins of 8 grey levels."""
    return np.stack([np.bincount(v.ravel() // 8, minlength=32) / v.size for v in images])


def _linear_accuracy(train: Made, test: Made, inverse_penalty: float) -> float:
    model = LogisticRegression(C=inverse_penalty, tol=1e-2, max_iter=1000)
    model.fit(_voxels(train[0]), train[1])
    return float(model.score(_voxels(test[0]), test[1]))


@pytest.mark.parametrize("split", phantom.SPLIT_SIZES)
def test_every_bit_is_fixed(made: dict[str, Made], split: str) -> None:
    assert _digest(made[split]) == GOLDEN[28, split]


def test_every_bit_is_fixed_at_64_for_val() -> None:
    assert _digest(phantom.volumes("val", 64)) == GOLDEN[64, "val"]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_bit_is_fixed_at_64(split: str) -> None:
    assert _digest(phantom.volumes(split, 64)) == GOLDEN[64, split]


@pytest.mark.parametrize("split", phantom.SPLIT_SIZES)
def test_shapes_types_and_balance(made: dict[str, Made], split: str) -> None:
    images, labels, masks = made[split]
    shape = (phantom.SPLIT_SIZES[split], 28, 28, 28)
    assert (images.shape, images.dtype) == (shape, np.uint8)
    assert (masks.shape, masks.dtype) == (shape, np.bool_)
    assert labels.dtype == np.int64
    assert set(np.bincount(labels)) == {len(labels) // len(phantom.CLASSES)}


def test_no_volume_appears_twice(made: dict[str, Made]) -> None:
    everything = [volume.tobytes() for images, _, _ in made.values() for volume in images]
    assert len(set(everything)) == sum(phantom.SPLIT_SIZES.values())


def test_mask_marks_the_bright_structure_and_few_reach_the_border(made: dict[str, Made]) -> None:
    images, _, masks = made["test"]
    for image, mask in zip(images / 255.0, masks, strict=True):
        assert mask.sum() > 200
        assert image[mask].mean() > image[~mask].mean() + 0.05
    cut = [bool(mask.sum() > mask[1:-1, 1:-1, 1:-1].sum()) for mask in masks]
    assert np.mean(cut) < 0.15


def test_classes_have_structures_of_one_size_and_brightness(made: dict[str, Made]) -> None:
    images, labels, masks = made["train"]
    kinds = range(len(phantom.CLASSES))
    sizes = np.array([masks[labels == kind].mean() for kind in kinds])
    means = np.array([images[labels == kind].mean() for kind in kinds])
    assert np.ptp(sizes) / sizes.mean() < 0.08
    assert np.ptp(means) < 2.0  # grey levels of 255


def test_logistic_regression_on_raw_voxels_stays_under_060(made: dict[str, Made]) -> None:
    accuracies = [_linear_accuracy(made["train"], made["test"], c) for c in (1e-3, 1e-1)]
    assert CHANCE < max(accuracies) < 0.60


def test_histogram_alone_stays_under_040(made: dict[str, Made]) -> None:
    (train, labels, _), (test, truth, _) = made["train"], made["test"]
    forest = RandomForestClassifier(200, random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    for model in (forest, linear):
        model.fit(_histograms(train), labels)
        assert model.score(_histograms(test), truth) < 0.40


def test_erasing_leaves_every_other_voxel_as_it_was(
    made: dict[str, Made], erased: dict[str, Made]
) -> None:
    (shown, labels, masks), (blank, same_labels, same_masks) = made["test"], erased["test"]
    assert np.array_equal(labels, same_labels)
    assert np.array_equal(masks, same_masks)
    changed = shown != blank
    # The edge is one voxel wide: what changes lies inside the structure or right beside it.
    for change, mask in zip(changed, masks, strict=True):
        assert change[mask].mean() > 0.9
        assert change.sum() < 3 * mask.sum()


def test_erased_volumes_are_drawn_without_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the structure erased, a volume is the same whatever its class: all are at chance."""
    before, _, _ = phantom.volumes("val", 16, structure=False)
    monkeypatch.setattr(phantom, "CLASSES", phantom.CLASSES[::-1])
    after, _, _ = phantom.volumes("val", 16, structure=False)
    shown, _, _ = phantom.volumes("val", 16)
    assert np.array_equal(before, after)
    assert not np.array_equal(before, shown)


def test_models_are_at_chance_with_the_structure_erased(erased: dict[str, Made]) -> None:
    accuracy = _linear_accuracy(erased["train"], erased["test"], 1e-3)
    # Four standard errors of a guess among four classes on 128 volumes.
    assert abs(accuracy - CHANCE) < 4 * np.sqrt(CHANCE * (1 - CHANCE) / 128)


def test_the_finer_grid_shows_the_same_scenes(made: dict[str, Made]) -> None:
    coarse_images, _, coarse_masks = made["val"]
    for index in range(8):
        image, mask = phantom._render("val", index, 56, structure=True)
        pooled = image.reshape(28, 2, 28, 2, 28, 2).mean(axis=(1, 3, 5))
        inside = mask.reshape(28, 2, 28, 2, 28, 2).mean(axis=(1, 3, 5)) > 0.5
        overlap = (inside & coarse_masks[index]).sum() / (inside | coarse_masks[index]).sum()
        assert overlap > 0.85
        assert np.corrcoef(pooled.ravel(), coarse_images[index].ravel())[0, 1] > 0.6


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(BenchError, match="split"):
        phantom.volumes("testing", 28)


def test_an_impossible_size_is_refused() -> None:
    with pytest.raises(BenchError, match=r"must be at least 1 voxel per axis, got 0\. Take 28\."):
        phantom.volumes("val", 0)
