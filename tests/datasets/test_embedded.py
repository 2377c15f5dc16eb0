"""The phantom as a dataset."""

import numpy as np
import pytest

from benchharness import datasets
from benchharness.datasets import phantom


@pytest.fixture(scope="module")
def dataset():
    return datasets.load("phantom3d")


def test_it_is_what_the_generator_makes(dataset, tmp_path):
    volumes, labels, masks = phantom.volumes("val", 28)
    np.testing.assert_array_equal(dataset.val.volumes[:, 0], volumes)
    np.testing.assert_array_equal(dataset.val.labels, labels)
    np.testing.assert_array_equal(dataset.val.masks, masks)
    assert dataset.classes == phantom.CLASSES
    assert dataset.grid == (28, 28, 28)
    assert (dataset.modality, dataset.default_recipe) == ("phantom", "quick")
    assert dataset.test.ids[5] == "phantom3d/test/5"


def test_its_digest_is_of_its_contents(dataset, monkeypatch):
    again = datasets.load("phantom3d")
    assert again.digest == dataset.digest
    assert dataset.digest.startswith("sha256:")
    assert len(dataset.digest) == len("sha256:") + 64
    honest = phantom.volumes

    def changed(split, size):
        volumes, labels, masks = honest(split, size)
        volumes[0, 0, 0, 0] ^= 1
        return volumes, labels, masks

    monkeypatch.setattr(phantom, "volumes", changed)
    assert datasets.load("phantom3d").digest != dataset.digest


@pytest.mark.slow
def test_the_finer_phantom_shows_the_same_structures(dataset):
    fine = datasets.load("phantom3d_64")
    assert fine.grid == (64, 64, 64)
    assert fine.test.ids[5] == "phantom3d_64/test/5"
    np.testing.assert_array_equal(fine.test.labels, dataset.test.labels)
    shares = [split.masks.mean(axis=(1, 2, 3)) for split in (fine.test, dataset.test)]
    np.testing.assert_allclose(*shares, atol=0.01)
