"""Own .npz archives of other types and shapes than MedMNIST's."""

import numpy as np
import pytest

from benchharness import datasets
from benchharness.datasets import Preparation, Window
from benchharness.errors import BenchError

SPLITS = ("train", "val", "test")


def write(folder, kind=np.float32, shape=(4, 5, 6), labels=None, **replaced):
    draws = np.random.default_rng(1)
    held = {}
    for count, split in enumerate(SPLITS, start=6):
        held[f"{split}_images"] = (draws.random((count, *shape)) * 1000).astype(kind)
        numbers = np.arange(count) % 2
        held[f"{split}_labels"] = numbers if labels is None else labels(numbers)
    held.update(replaced)
    np.savez(folder / "own.npz", **held)
    return folder / "own.npz", held


def load(path, text="range:0,1000", **options):
    return datasets.load(str(path), preparation=Preparation(window=Window.parse(text), **options))


def refusal(path, *options) -> str:
    with pytest.raises(BenchError) as caught:
        load(path, *options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.float16, np.float32, float])
def test_numbers_become_16_bits_of_the_window(tmp_path, kind):
    path, held = write(tmp_path, kind)
    found = load(path)
    assert found.test.volumes.dtype == np.uint16
    wanted = held["test_images"].astype(np.float64)[:, None] / 1000 * 65535
    np.testing.assert_allclose(found.test.volumes, wanted, atol=0.51)
    assert dict(found.preparation) == {"bits": 16, "window": "range:0,1000"}


@pytest.mark.parametrize("kind", [np.uint16, np.float32, float])
def test_a_window_is_asked_for(tmp_path, kind):
    path, _ = write(tmp_path, kind)
    with pytest.raises(BenchError, match=r"does not say what is black .* Type --window: range:0,1"):
        datasets.load(str(path))


def test_uint8_stays_what_it_was_with_a_window_or_without(tmp_path):
    path, held = write(tmp_path, np.uint8)
    plain, windowed = datasets.load(str(path)), load(path)
    assert plain.digest == windowed.digest
    assert plain.digest.startswith("md5:")
    np.testing.assert_array_equal(windowed.test.volumes[:, 0], held["test_images"])
    assert windowed.test.volumes.dtype == np.uint8


def test_the_digest_sees_the_window(tmp_path):
    path, _ = write(tmp_path)
    texts = ("range:0,1000", "range:0,999", "ct:500,1000", "percentiles:0,100")
    assert len({load(path, text).digest for text in texts}) == 4
    assert load(path, "ct:500,1000").modality == "ct"
    assert load(path, modality="mri").modality == "mri"


def test_16_bits_in_full_are_taken_as_they_are(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (6, 4, 5, 6)).astype(np.uint16)
    path, _ = write(tmp_path, np.uint16, train_images=values)
    np.testing.assert_array_equal(load(path, "range:0,65535").train.volumes[:, 0], values)


@pytest.mark.parametrize(
    ("shape", "channels", "grid"),
    [((1, 9, 8, 7), 1, (9, 8, 7)), ((2, 9, 8, 7), 2, (9, 8, 7)), ((4, 9, 8, 7), 4, (9, 8, 7))],
)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_channels_may_come_first(tmp_path, shape, channels, grid, kind):
    path, held = write(tmp_path, kind, shape)
    found = load(path)
    assert (found.in_channels, found.grid) == (channels, grid)
    if kind == np.uint8:
        np.testing.assert_array_equal(found.val.volumes, held["val_images"])


@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_one_hot_labels_are_read(tmp_path, kind):
    path, _ = write(tmp_path, labels=lambda numbers: np.eye(2)[numbers].astype(kind))
    np.testing.assert_array_equal(load(path).test.labels, np.arange(8) % 2)


@pytest.mark.parametrize("row", [[0, 0], [1, 1], [0.5, 0.5], [2, -1], [np.nan, 1]])
def test_what_is_not_one_hot_is_refused(tmp_path, row):
    path, held = write(tmp_path, labels=lambda numbers: np.eye(2)[numbers])
    held["val_labels"][3] = row
    np.savez(path, **held)
    assert "row 3 is no 1 among zeros" in refusal(path)


def test_nan_darkness_and_mixed_types_are_refused(tmp_path):
    path, held = write(tmp_path)
    assert "so a network sees black. Type another --window" in refusal(path, "range:0,1e9")
    held["test_images"][2, 1, 1, 1] = np.inf
    np.savez(path, **held)
    assert "test_images, volume 2 holds NaN or infinity" in refusal(path)
    path, _ = write(tmp_path, test_images=np.zeros((8, 4, 5, 6), np.uint8) + 200)
    assert "the splits differ in type: train uint16, val uint16, test uint8" in refusal(path)


def test_a_volume_in_two_splits_is_refused_after_the_window_too(tmp_path):
    path, held = write(tmp_path)
    held["test_images"][2] = held["train_images"][1]
    np.savez(path, **held)
    assert "train 1 and test 2 hold the same voxels" in refusal(path)


def test_classes_may_be_named(tmp_path):
    path, _ = write(tmp_path)
    assert load(path, classes=("no", "yes")).classes == ("no", "yes")
    with pytest.raises(BenchError, match="--classes names 3 classes"):
        load(path, classes=("a", "b", "c"))
