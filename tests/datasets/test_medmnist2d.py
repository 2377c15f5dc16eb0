"""MedMNIST2D: names, metadata, and images as volumes of depth 1."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from benchharness import datasets, registry
from benchharness.cli import catalogue
from benchharness.datasets import medmnist, medmnist2d
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.training import recipes

ROOT = os.environ.get("BENCH_DATA_ROOT")
NAMES = [flag + size for flag in medmnist2d.SETS for size in medmnist2d.SIZES]


def test_every_single_label_set_of_the_package_is_there():
    from medmnist.info import INFO

    flat = {flag for flag in INFO if not flag.endswith("3d")}
    assert flat - set(medmnist2d.SETS) == {"chestmnist"}
    assert INFO["chestmnist"]["task"] == "multi-label, binary-class"
    tasks = {INFO[flag]["task"] for flag in medmnist2d.SETS}
    assert tasks == {"binary-class", "multi-class", "ordinal-regression"}


def test_every_name_of_the_registry_has_a_factory_and_a_group():
    assert set(medmnist2d.FACTORIES) == set(NAMES)
    for size in medmnist2d.SIZES:
        members = registry.GROUPS["datasets"][f"medmnist2d{size}"]
        assert members == tuple(flag + size for flag in medmnist2d.SETS)
        for name in members:
            assert registry.load("datasets", name).__name__ == name
    with pytest.raises(AttributeError):
        _ = medmnist2d.chestmnist


@pytest.mark.parametrize("name", NAMES)
def test_the_package_knows_address_and_checksum(name):
    flag, _, size = name.partition("_")
    info = medmnist.information(flag)
    suffix = f"_{size}" if size else ""
    assert f"{name}.npz" in info[f"url{suffix}"]
    assert len(info[f"MD5{suffix}"]) == 32
    assert set(info["label"]) == {str(index) for index in range(len(info["label"]))}


@pytest.mark.parametrize("name", ["chestmnist", "chestmnist_64", "chestmnist_224"])
def test_a_multi_label_set_is_refused_by_name(name):
    with pytest.raises(BenchError, match=rf"^{name} is multi-label, with 14 findings per image"):
        datasets.load(name)
    with pytest.raises(BenchError, match="unknown dataset"):
        datasets.load("chestmnist_32")


def made(monkeypatch, tmp_path, name, shape, classes):
    """A small archive in the place of a published one."""
    flag, _, size = name.partition("_")
    draws = np.random.default_rng(0)
    held = {}
    for split in ("train", "val", "test"):
        held[f"{split}_images"] = draws.integers(0, 256, (6, *shape), dtype=np.uint8)
        held[f"{split}_labels"] = (np.arange(6) % classes)[:, None].astype(np.uint8)
    path = tmp_path / f"{name}.npz"
    np.savez(path, **held)
    key = f"MD5_{size}" if size else "MD5"
    info = medmnist.information(flag)
    monkeypatch.setitem(info, key, hashlib.md5(path.read_bytes()).hexdigest())
    return held


@pytest.mark.parametrize(
    ("name", "shape", "channels", "classes"),
    [
        ("pneumoniamnist", (28, 28), 1, 2),
        ("pneumoniamnist_64", (64, 64), 1, 2),
        ("bloodmnist", (28, 28, 3), 3, 8),
        ("retinamnist_224", (224, 224, 3), 3, 5),
        ("breastmnist_128", (128, 128), 1, 2),
    ],
)
def test_images_become_volumes_of_depth_1(monkeypatch, tmp_path, name, shape, channels, classes):
    held = made(monkeypatch, tmp_path, name, shape, classes)
    found = datasets.load(name, tmp_path)
    assert found.in_channels == channels
    assert found.grid == (1, shape[0], shape[1])
    assert found.num_classes == classes
    assert found.modality == medmnist2d.SETS[name.partition("_")[0]][0]
    assert recipes.find(found.default_recipe).batch_size == 128
    assert found.test.ids[5] == f"{name}/test/5"
    images = held["test_images"].reshape(6, *shape[:2], channels)
    np.testing.assert_array_equal(np.moveaxis(found.test.volumes[:, :, 0], 1, 3), images)


def test_ordered_grades_are_judged_as_the_packages_evaluator_does():
    from medmnist.evaluator import getACC, getAUC

    draws = np.random.default_rng(1)
    labels = np.arange(60) % 5
    logits = draws.normal(size=(60, 5)).astype(np.float32)
    values, _ = metrics.compute(labels, logits)
    scores = metrics.softmax(logits)
    assert values["accuracy"] == pytest.approx(getACC(labels, scores, "ordinal-regression"))
    assert values["auc"] == pytest.approx(getAUC(labels, scores, "ordinal-regression"))


def test_the_list_has_a_row_a_set_and_names_its_larger_copies():
    found = catalogue.catalogue("datasets")
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["pneumoniamnist"][0] == "_64, _128, _224"
    assert rows["pneumoniamnist"][1].startswith("Chest radiographs of children")
    assert rows["phantom3d"][0] == "_64"
    assert not any(name.endswith(("_64", "_128", "_224")) for name in rows)
    listed = {name + size for name, row in rows.items() for size in ("", *row[0].split(", "))}
    assert set(registry.entries("datasets")) <= listed


@pytest.mark.skipif(ROOT is None, reason="BENCH_DATA_ROOT is not set")
def test_the_published_archive_loads():
    if not (Path(ROOT) / "pneumoniamnist.npz").exists():
        pytest.skip("pneumoniamnist.npz is not in BENCH_DATA_ROOT")
    found = datasets.load("pneumoniamnist")
    assert found.grid == (1, 28, 28)
    assert found.classes == ("normal", "pneumonia")
    assert [len(getattr(found, split)) for split in ("train", "val", "test")] == [4708, 524, 624]
    assert int(found.test.labels.sum()) == 390
    assert len(np.unique(found.test.volumes)) > 200
