"""The cache of prepared volumes: whatever lies in its files, a dataset is what its files say."""

import shutil

import numpy as np
import pytest

from benchharness import datasets
from benchharness.datasets import Preparation, grids, prepared
from benchharness.errors import BenchError
from tests.mutations import mutate
from tests.own_data import scene, write_nifti, write_table

SMALL = Preparation(size=(8, 8, 8))
SPLITS = ("train", "val", "test")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


def table(folder, seed, side=8):
    folder.mkdir()
    draws = np.random.default_rng(seed)
    rows = []
    for split in SPLITS:
        for number in range(4):
            np.save(folder / f"{split}{number}.npy", draws.integers(0, 4000, (side,) * 3))
            rows.append((f"{split}{number}.npy", number % 2, split, f"{split}{number // 2}"))
    return write_table(folder, rows)


def load(path):
    return datasets.load(str(path), preparation=SMALL)


def same(one, other):
    assert one.digest == other.digest
    assert one.test.spacing == other.test.spacing
    assert one.preparation == other.preparation
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(one, split).volumes, getattr(other, split).volumes)


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_or_exchanged_files_change_nothing_and_raise_nothing(
    cache, tmp_path, monkeypatch, count
):
    sources = [table(tmp_path / "a", 1), table(tmp_path / "b", 2, side=9)]
    wanted = {source: load(source) for source in sources}
    made = {}
    volumes, spacing = grids.volumes, grids.find_spacing
    for path in cache.glob("*.npz"):
        path.unlink()

    def remembered(work, kind):
        def remember(found, *given):
            key = (kind, found.source)
            if key not in made:
                result = work(found, *given)
                made[key] = [*result] if kind == "volumes" else result
            return iter(made[key]) if kind == "volumes" else made[key]

        return remember

    monkeypatch.setattr(grids, "volumes", remembered(volumes, "volumes"))
    monkeypatch.setattr(grids, "find_spacing", remembered(spacing, "spacing"))
    for source in sources:
        same(load(source), wanted[source])
    pristine = tmp_path / "pristine"
    shutil.copytree(cache, pristine, ignore=shutil.ignore_patterns("*.lock"))
    draws = np.random.default_rng(0)
    for _ in range(count):
        done = mutate(cache, pristine, ".npz .json", draws)
        for source in sources:
            try:
                same(load(source), wanted[source])
            except BaseException as error:
                raise AssertionError(f"after a {done}") from error


def test_an_exchanged_array_is_noticed_even_where_it_fits(cache, tmp_path):
    """The archive is well formed and its zip checksums are right; only its seal is not."""
    source = table(tmp_path / "a", 1)
    wanted = load(source)
    (path,) = cache.glob("*.npz")
    with np.load(path) as found:
        held = {name: found[name] for name in found.files}
    held["test"] = 255 - held["test"]
    np.savez(path, **held)
    same(load(source), wanted)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_folder_in_place_of_a_cache_file_is_one_line_or_no_matter(cache, tmp_path, suffix):
    source = table(tmp_path / "a", 1)
    load(source)
    (path,) = cache.glob(f"*{suffix}")
    path.unlink()
    path.mkdir()
    with pytest.raises(BenchError, match="cannot keep prepared volumes in"):
        load(source)


def test_a_dataset_that_was_read_rightly_keeps_the_digest_of_its_files(cache, tmp_path):
    """Marks enter the digest only where an earlier version made other voxels."""
    source = table(tmp_path / "a", 1)
    found = load(source)
    (path,) = cache.glob("*.npz")
    assert found.digest == f"sha256:{path.stem}"


def test_a_dataset_with_misread_files_is_other_data(cache, tmp_path):
    """In microns and at a stated spacing, name and options are as before but not the voxels."""
    rows = []
    for split in SPLITS:
        for label in (0, 1):
            values, affine = scene((1, 1, 1), contrast=1 + label + 2 * SPLITS.index(split))
            path = write_nifti(tmp_path / f"{split}{label}.nii", values, affine * 1000)
            rows.append((path.name, label, split))
    source = write_table(tmp_path, rows, "path,label,split")
    stated = Preparation(size=(8, 8, 8), spacing=(2, 2, 2), bits=8)
    set_unit(tmp_path, "micron")
    microns = datasets.load(str(source), preparation=stated)
    (path,) = cache.glob("*.npz")
    assert microns.digest != f"sha256:{path.stem}"
    again = datasets.load(str(source), preparation=stated)
    assert again.digest == microns.digest
    shutil.rmtree(cache)
    assert datasets.load(str(source), preparation=stated).digest == microns.digest


def set_unit(folder, unit):
    import nibabel

    for path in folder.glob("*.nii"):
        image = nibabel.load(path)
        image = nibabel.Nifti1Image(np.asanyarray(image.dataobj).copy(), image.affine, image.header)
        image.header.set_xyzt_units(unit)
        image.to_filename(path)


def test_a_file_changed_by_hand_never_meets_the_index_of_another(cache, tmp_path):
    sources = [table(tmp_path / "a", 1), table(tmp_path / "b", 2)]
    wanted = [load(source) for source in sources]
    one, other = cache.glob("*.json")
    text = one.read_text(encoding="utf-8")
    one.write_text(other.read_text(encoding="utf-8"))
    other.write_text(text)
    for source, dataset in zip(sources, wanted, strict=True):
        same(load(source), dataset)
    assert prepared.caches.usage()[1].files == 4
