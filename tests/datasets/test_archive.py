"""Archives in MedMNIST's layout: what is read, and what is refused with which words."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchharness import datasets
from benchharness.datasets import archive, medmnist
from benchharness.errors import BenchError


def arrays(shape=(6, 7, 8), count=5, **replaced):
    random = np.random.default_rng(0)
    held = {}
    for offset, split in enumerate(archive.SPLITS):
        number = count + offset
        held[f"{split}_images"] = random.integers(0, 256, (number, *shape), dtype=np.uint8)
        held[f"{split}_labels"] = (np.arange(number) % 3)[:, None].astype(np.uint8)
    held.update(replaced)
    return {key: value for key, value in held.items() if value is not None}


def written(folder: Path, held: dict, name: str = "own.npz") -> Path:
    np.savez_compressed(folder / name, **held)
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(BenchError) as caught:
        archive.read(path, name="own")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_volumes_labels_and_ids_are_those_of_the_file(tmp_path):
    held = arrays()
    dataset = datasets.load(str(written(tmp_path, held)))
    for split in archive.SPLITS:
        part = getattr(dataset, split)
        np.testing.assert_array_equal(part.volumes[:, 0], held[f"{split}_images"])
        np.testing.assert_array_equal(part.labels, held[f"{split}_labels"][:, 0])
        assert part.labels.dtype == np.int64
        assert part.ids[1] == f"own/{split}/1"
    assert dataset.name == "own"
    assert dataset.grid == (6, 7, 8)
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert dataset.default_recipe == "quick"
    assert dataset.modality == "unknown"


@pytest.mark.parametrize(
    ("shape", "channels", "grid"),
    [
        ((28, 28), 1, (1, 28, 28)),
        ((28, 28, 3), 3, (1, 28, 28)),
        ((28, 28, 1), 1, (1, 28, 28)),
        ((28, 28, 28), 1, (28, 28, 28)),
        ((1, 28, 28), 1, (1, 28, 28)),
        ((9, 28, 28, 3), 3, (9, 28, 28)),
        ((9, 28, 28, 1), 1, (9, 28, 28)),
    ],
)
def test_flat_and_coloured_images_become_volumes(tmp_path, shape, channels, grid):
    held = arrays(shape)
    dataset = datasets.load(str(written(tmp_path, held)))
    assert dataset.in_channels == channels
    assert dataset.grid == grid
    volumes = dataset.test.volumes
    assert volumes.flags.c_contiguous
    last = held["test_images"].reshape(-1, *grid, channels)
    np.testing.assert_array_equal(np.moveaxis(volumes, 1, 4), last)


def test_flat_labels_and_fortran_order_are_read(tmp_path):
    held = arrays()
    changed = dict(held)
    changed["val_labels"] = held["val_labels"][:, 0].astype(np.int32)
    changed["val_images"] = np.asfortranarray(held["val_images"])
    found = archive.read(written(tmp_path, changed), name="own")
    np.testing.assert_array_equal(found.val.volumes[:, 0], held["val_images"])
    np.testing.assert_array_equal(found.val.labels, held["val_labels"][:, 0])


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"val_labels": None}, "lacks val_labels; MedMNIST's layout has train_images"),
        (
            {"val_images": np.zeros((6, 6, 7, 8), np.float32)},
            "is float32, which does not say",
        ),
        (
            {"val_images": np.zeros((6, 6, 7, 8), np.int16)},
            "is int16, which does not say",
        ),
        ({"val_images": np.zeros((6, 6), np.uint8)}, "has shape (6, 6); expected (N, D, H, W)"),
        ({"val_images": np.zeros((6, 6, 7, 8, 5), np.uint8)}, "with C = 1 or 3"),
        ({"val_images": np.zeros((0, 6, 7, 8), np.uint8)}, "no voxels; expected at least one"),
        ({"val_images": np.zeros((6, 6, 7, 9), np.uint8)}, "the splits differ in channels or grid"),
        ({"val_images": np.zeros((4, 6, 7, 8), np.uint8)}, "val has 4 images but 6 labels"),
        ({"val_labels": np.zeros((6, 1))}, "is float64; expected integer class labels"),
        ({"val_labels": np.zeros((6, 2), int)}, "has shape (6, 2); expected (N,) or (N, 1)"),
        ({"val_labels": np.zeros((0, 1), int)}, "no labels; expected at least one"),
        ({"val_labels": np.arange(-1, 5)[:, None]}, "has labels -1..4; expected class labels"),
        ({"val_labels": np.array([None] * 6)}, "holds pickled objects, which are never loaded"),
    ],
)
def test_a_wrong_array_is_one_line(tmp_path, replaced, words):
    assert words in refusal(written(tmp_path, arrays(**replaced)))


def test_a_single_class_is_refused(tmp_path):
    held = arrays()
    for split in archive.SPLITS:
        held[f"{split}_labels"] *= 0
    with pytest.raises(BenchError, match="every label is 0; a classifier needs at least two"):
        datasets.load(str(written(tmp_path, held)))


def test_absent_empty_truncated_and_corrupted_files_are_one_line(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.npz")
    path = tmp_path / "own.npz"
    path.touch()
    assert "is empty (0 bytes)" in refusal(path)
    content = written(tmp_path, arrays()).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "is damaged or not an .npz archive" in refusal(path)
    path.write_bytes(content[:400] + bytes(64) + content[464:])
    assert "is damaged or not an .npz archive" in refusal(path)


def test_a_failing_disk_is_not_called_damage_nor_is_a_lack_of_memory(tmp_path, monkeypatch):
    path = written(tmp_path, arrays())

    def failing(error):
        def header(_):
            raise error

        monkeypatch.setattr(archive, "array_header", header)

    failing(OSError(5, "Input/output error"))
    assert refusal(path).startswith(f"cannot read {path}: Input/output error")
    failing(MemoryError())
    with pytest.raises(MemoryError):
        archive.read(path, name="own")
    failing(SyntaxError("invalid header"))
    assert "is damaged or not an .npz archive" in refusal(path)


def test_a_folder_is_one_line(tmp_path):
    assert "Is a directory" in refusal(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_flipped_bytes_give_the_same_arrays_or_one_line(tmp_path_factory, flips, compressed):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays((2, 3, 2), count=2))
    content = bytearray(buffer.getvalue())
    for position, value in flips:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(content)
    try:
        found = archive.read(path, name="own")
    except BenchError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most damage is refused, some is harmless
    else:
        assert found.test.volumes.dtype == np.uint8


def test_a_header_that_claims_more_than_the_archive_holds_allocates_nothing(tmp_path):
    path = written(tmp_path, arrays())
    absurd = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**3, 10**3, 10**3)}
    np.lib.format.write_array_header_1_0(absurd, header)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["val_images.npy"] = absurd.getvalue() + bytes(10)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    message = refusal(path)
    assert f"{10**15} bytes, but the archive holds 10" in message


def test_an_archive_larger_than_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = written(tmp_path, arrays())
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    assert "more than the 0.0 GiB of memory here" in refusal(path)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("a pickle was loaded"))
    held = arrays(train_labels=np.array([{"a": 1}] * 5, dtype=object))
    assert "pickled objects" in refusal(written(tmp_path, held))


def relabelled(labels):
    held = arrays()
    for offset, split in enumerate(archive.SPLITS):
        held[f"{split}_labels"] = np.resize(labels, (5 + offset, 1))
    return held


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2], "no split has a volume of 'class 0', but labels go up to 2. Number the classes"),
        ([0, 255], "no split has a volume of 'class 1', but labels go up to 255. Number the"),
        ([0, 2, 3], "no split has a volume of 'class 1'"),
        ([0, 900_000_000], "label 900000000 is not an integer from 0 to 9999. Number the classes"),
        ([0, 10_000], "label 10000 is not an integer from 0 to 9999"),
    ],
)
def test_labels_with_gaps_sentinels_or_huge_values_are_refused(tmp_path, labels, words):
    path = written(tmp_path, relabelled(np.asarray(labels)))
    with pytest.raises(BenchError) as caught:
        datasets.load(str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("split", archive.SPLITS)
def test_masks_of_0_and_1_are_refused_with_what_to_do(tmp_path, split, largest):
    held = arrays()
    held[f"{split}_images"] = np.minimum(held[f"{split}_images"], largest)
    with pytest.raises(BenchError, match="Multiply masks of 0 and 1 by 255") as caught:
        datasets.load(str(written(tmp_path, held)))
    assert f"{split}_images: the largest intensity is {largest} of 255" in str(caught.value)


def test_a_volume_in_two_splits_is_refused(tmp_path):
    held = arrays()
    held["test_images"][3] = held["train_images"][1]
    with pytest.raises(
        BenchError, match=r"train 1 and test 3 hold the same voxels. Keep it in one"
    ):
        datasets.load(str(written(tmp_path, held)))


def test_a_volume_with_two_labels_is_refused_and_twice_with_one_is_not(tmp_path):
    held = arrays()
    held["train_images"][3] = held["train_images"][0]
    datasets.load(str(written(tmp_path, held)))
    held["train_images"][1] = held["train_images"][0]
    with pytest.raises(BenchError, match=r"train 0 and train 1 .* 'class 0' and 'class 1'"):
        datasets.load(str(written(tmp_path, held)))


def test_a_published_archive_is_taken_as_it_was_published(tmp_path, monkeypatch):
    held = arrays()
    held["test_images"][3] = held["train_images"][1]
    path = written(tmp_path, held)
    md5 = archive.read(path, name="own").md5
    monkeypatch.setattr(datasets, "_is_published", lambda found: found == md5)
    assert len(datasets.load(str(path)).test) == 7
    published = medmnist.information("pneumoniamnist")["MD5_224"]
    assert medmnist.is_published(published)
    assert not medmnist.is_published(md5)


def test_a_split_that_lacks_classes_is_noted(tmp_path):
    held = arrays()
    held["test_labels"] *= 0
    held["val_labels"] = np.minimum(held["val_labels"], 1)
    notes = datasets.load(str(written(tmp_path, held))).notes
    assert notes == (
        "own: its val split has no volume of 'class 2'; the choice of weights does not see every "
        "class.",
        "own: every volume of its test split is 'class 0'; metrics that need every class, such as "
        "the AUC, are undefined.",
    )
    assert datasets.load(str(written(tmp_path, arrays()))).notes == ()


def test_a_single_flipped_bit_of_an_archive_never_changes_its_arrays(tmp_path):
    path = written(tmp_path, arrays((2, 3, 2)))
    content = path.read_bytes()
    whole = archive.read(path, name="own")
    draws = np.random.default_rng(0)
    for place in draws.integers(0, 8 * len(content), 300).tolist():
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = archive.read(path, name="own")
        except BenchError:
            continue
        for split in archive.SPLITS:
            np.testing.assert_array_equal(
                getattr(found, split).volumes, getattr(whole, split).volumes
            )
            np.testing.assert_array_equal(
                getattr(found, split).labels, getattr(whole, split).labels
            )
