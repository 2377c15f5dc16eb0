"""Own volumes as a dataset: splits, patients, spacing, digest, and the cache."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchharness import datasets
from benchharness.datasets import Preparation, Window, grids, prepared, reading
from benchharness.disk.caches import cache_folder
from benchharness.errors import BenchError
from tests.dicom_data import write_series
from tests.own_data import scene, write_folder, write_nifti, write_table

SMALL = Preparation(size=(8, 8, 8))
SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "own", {"train": 2, "val": 1, "test": 2})


@pytest.fixture
def table(tmp_path):
    """A CSV of .npy volumes, two a patient."""
    draws = np.random.default_rng(0)
    rows = []
    for split in SPLITS:
        for number in range(4):
            name = f"{split}{number}.npy"
            np.save(tmp_path / name, draws.integers(0, 4000, (8, 8, 8)).astype(np.int16))
            rows.append((name, number % 2, split, f"{split}-{number // 2}"))
    return write_table(tmp_path, rows)


def load(path, preparation=SMALL):
    return datasets.load(str(path), preparation=preparation)


def refusal(path, preparation=SMALL) -> str:
    with pytest.raises(BenchError) as caught:
        load(path, preparation)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_becomes_a_dataset(folder):
    found = load(folder)
    assert (found.name, found.classes) == ("own", ("bright", "faint"))
    assert (found.grid, found.in_channels, found.modality) == ((8, 8, 8), 1, "unknown")
    assert [len(getattr(found, split)) for split in SPLITS] == [4, 2, 4]
    assert found.test.ids[:2] == ("own/test/bright/00.nii.gz", "own/test/bright/01.nii.gz")
    np.testing.assert_array_equal(found.test.labels, [0, 0, 1, 1])
    assert found.test.volumes.dtype == np.uint16
    assert found.test.patients is None
    path = folder / "test" / "bright" / "00.nii.gz"
    spacing = found.test.spacing
    wanted = reading.make((path,), SMALL, spacing).volume
    np.testing.assert_array_equal(found.test.volumes[0], wanted)


def test_fit_is_the_finest_spacing_at_which_no_training_volume_is_cut(tmp_path, folder):
    assert load(folder).train.spacing == (3.0, 3.0, 3.0)  # 24 mm on 8 voxels
    assert load(folder, Preparation(size=(8, 12, 24))).test.spacing == (3.0, 3.0, 3.0)
    values, affine = scene((1, 1, 1))
    wider = affine @ np.diag([1.0, 1.5, 1.0, 1.0])
    write_nifti(folder / "val" / "bright" / "wide.nii", values, wider)
    assert load(folder).train.spacing == (3.0, 3.0, 3.0)
    write_nifti(folder / "train" / "bright" / "wide.nii", values + 1, wider)
    assert load(folder).train.spacing == (4.5, 4.5, 4.5)


def test_a_stated_spacing_is_kept_and_a_ct_window_says_that_it_is_ct(folder):
    window = Window.parse("ct:250,400")
    found = load(folder, Preparation(size=(6, 8, 8), spacing=(4, 2, 2), window=window))
    assert found.test.spacing == (4, 2, 2)
    assert found.test.subset(2).spacing == (4, 2, 2)
    assert found.grid == (6, 8, 8)
    assert found.modality == "ct"
    said = dict(found.preparation)
    assert (said["window"], said["spacing"]) == ("ct:250,400", (4, 2, 2))


def test_a_stated_modality_wins_and_changes_no_voxel(folder):
    window = Window.parse("ct:250,400")
    plain = load(folder, Preparation(size=(8, 8, 8), window=window))
    stated = load(folder, Preparation(size=(8, 8, 8), window=window, modality="mri"))
    assert stated.modality == "mri"
    assert stated.digest == plain.digest


def test_a_csv_keeps_patients_in_ids_and_split(table):
    found = load(table)
    assert found.classes == ("class 0", "class 1")
    assert found.test.patients == ("test-0", "test-0", "test-1", "test-1")
    assert found.test.ids[2] == "own/test/test-1/test2.npy"
    part = found.test.subset(2)
    assert part.patients == tuple(name.split("/")[2] for name in part.ids)
    assert found.test.spacing is None  # .npy files have none


def test_numpy_volumes_of_the_wanted_size_are_not_resampled(table):
    found = load(table, Preparation(size=(8, 8, 8), window=Window.parse("ct:2000,4000")))
    stored = np.load(table.parent / "train3.npy")
    np.testing.assert_array_equal(
        found.train.volumes[3, 0], np.rint((stored / np.float32(4000)) * 65535)
    )


def test_files_with_and_without_spacing_do_not_mix(table):
    assert "train0.npy has no spacing, so --spacing does not apply to it" in refusal(
        table, Preparation(spacing=(1, 1, 1))
    )
    write_nifti(table.parent / "test3.nii", *scene((1, 1, 1)))
    table.write_text(table.read_text(encoding="utf-8").replace("test3.npy", "test3.nii"))
    assert "mixes .npy files, which have no spacing (train0.npy), with files" in refusal(table)


def test_one_file_in_two_splits_under_two_names_is_refused(table):
    (table.parent / "test2.npy").write_bytes((table.parent / "train1.npy").read_bytes())
    said = refusal(table)
    assert "train train1.npy and test test2.npy are the same file under two names" in said


def test_an_absent_or_damaged_volume_is_one_line_and_leaves_no_data_behind(table, cache):
    (table.parent / "val1.npy").unlink()
    assert "val1.npy: No such file or directory. Correct its path" in refusal(table)
    assert not cache.exists()
    (table.parent / "val1.npy").write_bytes(b"damaged")
    assert "cannot read volume" in refusal(table)
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_the_second_start_reads_no_volume(folder, monkeypatch):
    first = load(folder)

    def forbidden(*_, **__):
        raise AssertionError("a volume was read again")

    monkeypatch.setattr(reading, "make", forbidden)
    monkeypatch.setattr(reading, "header", forbidden)
    monkeypatch.setattr(prepared, "file_sha256", forbidden)
    second = load(folder)
    assert second.digest == first.digest
    assert second.test.spacing == first.test.spacing
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(first, split).volumes, getattr(second, split).volumes)


def test_moved_files_have_the_same_digest_and_are_not_prepared_again(folder, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(grids, "volumes", None)
    moved = folder.rename(folder.with_name("moved"))
    assert load(moved).digest == first.digest
    assert load(moved).test.ids[0] == "moved/test/bright/00.nii.gz"


def test_the_digest_sees_content_options_labels_and_patients(table):
    seen = {load(table).digest, load(table, Preparation(size=(8, 8, 9))).digest}
    seen.add(load(table, Preparation(size=(8, 8, 8), window=Window.parse("ct:1,8000"))).digest)
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("test-1", "test-9"))
    seen.add(load(table).digest)
    table.write_text(text.replace("test3.npy,1", "test3.npy,0"))
    seen.add(load(table).digest)
    table.write_text(text)
    path = table.parent / "test3.npy"
    stored, times = np.load(path), path.stat()
    np.save(path, stored + 1)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen.add(load(table).digest)
    assert len(seen) == 6
    lines = text.splitlines()
    table.write_text("\n".join([lines[0], *lines[:0:-1]]))
    np.save(path, stored)
    assert load(table).digest in seen  # the order of lines does not matter


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_damaged_cache_is_made_anew(folder, cache, suffix):
    first = load(folder)
    for path in cache.glob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:100])
    second = load(folder)
    np.testing.assert_array_equal(first.test.volumes, second.test.volumes)
    assert second.digest == first.digest


def test_the_cache_holds_whole_files_only(folder, cache):
    found = load(folder)
    names = {path.suffix: path for path in cache.iterdir()}
    assert set(names) == {".npz", ".json", ".lock"}
    assert found.digest == f"sha256:{names['.npz'].stem}"
    assert json.loads(names[".json"].read_text(encoding="utf-8"))["digest"] == names[".npz"].stem


def test_a_cache_that_cannot_be_written_is_one_line(folder, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "file"))
    assert "Name a folder that can be written in BENCH_CACHE_ROOT" in refusal(folder)


def test_without_the_variable_the_cache_is_the_systems(monkeypatch, tmp_path):
    monkeypatch.delenv("BENCH_CACHE_ROOT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("prepared") == tmp_path / "benchharness" / "prepared"


def test_torchs_global_generator_is_left_as_it_was(folder):
    before = torch.random.get_rng_state()
    load(folder)
    assert torch.equal(before, torch.random.get_rng_state())


def test_processes_that_start_together_agree(folder, cache):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from benchharness.datasets import Preparation, files, prepared\n"
        "made = []\n"
        "prepare = prepared._prepare\n"
        "prepared._prepare = lambda *given: made.append(1) or prepare(*given)\n"
        "found = files.load(Path(sys.argv[1]), Preparation(size=(8, 8, 8)))\n"
        "print(found.digest, int(found.test.volumes.sum()), len(made))\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].decode().split() for process in running]
    assert said[0][:2] == said[1][:2]
    assert sorted(line[2] for line in said) == ["0", "1"]
    assert len(list(cache.glob("*.npz"))) == 1


def test_a_registered_name_wins_over_a_folder_and_a_plain_folder_is_found(
    folder, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phantom3d").mkdir()
    assert not datasets.is_path("phantom3d")
    assert datasets.is_path("own")
    assert datasets.is_prepared("own")
    assert datasets.is_prepared("own.csv")
    assert not datasets.is_prepared("own/own.npz")
    assert load("own").name == "own"


def test_the_same_volume_in_two_formats_and_two_splits_is_refused(folder):
    import nibabel

    image = nibabel.load(folder / "train" / "bright" / "01.nii.gz")
    image.to_filename(folder / "test" / "bright" / "copy.nii")
    said = refusal(folder)
    assert "train bright/01.nii.gz and test bright/copy.nii hold the same voxels" in said
    (folder / "test" / "bright" / "copy.nii").rename(folder / "train" / "bright" / "copy.nii")
    assert len(load(folder).train) == 5  # twice in one class of one split contradicts nothing


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_copies_of_one_volume_with_two_labels_are_refused(folder, suffix):
    import nibabel

    source = folder / "train" / "bright" / "01.nii.gz"
    target = folder / "train" / "faint" / f"copy{suffix}"
    if suffix == ".nii.gz":
        target.write_bytes(source.read_bytes())
    else:
        nibabel.load(source).to_filename(target)
    said = refusal(folder)
    assert f"train bright/01.nii.gz and train faint/copy{suffix}" in said
    assert "but are 'bright' and 'faint'. Keep the one with the right class" in said


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [(1, 3.0), (1e-3, 0.003), (1.2345e-4, 3.704e-4), (1 / 28, 0.108), (0.029, 0.087)],
)
def test_fit_rounds_in_proportion(folder, scale, wanted):
    """A microscope's spacing is not rounded to whole micrometres, nor is 3.704e-4 mm to 1 µm."""
    import nibabel

    for path in folder.rglob("*.nii*"):
        image = nibabel.load(path)
        affine = np.diag([scale, scale, scale, 1]) @ image.affine
        nibabel.Nifti1Image(np.asanyarray(image.dataobj).copy(), affine).to_filename(path)
    found = load(folder)
    assert found.train.spacing == pytest.approx((wanted,) * 3, rel=2e-3)
    assert found.train.spacing[0] >= 3 * scale * (1 - 1e-6)


def test_the_file_that_decides_a_fitted_spacing_is_named(folder):
    values, affine = scene((1, 1, 1))
    wide = affine @ np.diag([1.0, 1.5, 1.0, 1.0])
    write_nifti(folder / "train" / "bright" / "wide.nii", values + 1, wide)
    for _ in ("made", "from the cache"):
        found = load(folder)
        assert dict(found.preparation)["fitted_to"] == "bright/wide.nii"
        assert any("bright/wide.nii decides the spacing" in note for note in found.notes)
    stated = load(folder, Preparation(size=(8, 8, 8), spacing=(3, 3, 3)))
    assert "fitted_to" not in dict(stated.preparation)
    assert stated.notes == ()


def test_8_bits_are_the_data_that_they_always_were(tmp_path):
    """Digest and voxels as versions made them that knew no other: records of these stay valid."""
    rows = []
    for number in range(12):
        values = np.arange(512).reshape(8, 8, 8) * (number + 1) % 997
        np.save(tmp_path / f"{number}.npy", values.astype(np.int16))
        split = SPLITS[number // 4]
        rows.append((f"{number}.npy", number % 2, split, f"P{number // 2}"))
    table = write_table(tmp_path, rows)
    old = load(table, Preparation(size=(8, 8, 8), bits=8))
    assert old.digest == "sha256:064ae63fdc4a54cb954edc488ad631f2e3776726b5a8aa0d3b252e4c4b4d7c32"
    assert hashlib.sha256(old.test.volumes.tobytes()).hexdigest().startswith("c04ebecf5dab")
    new = load(table)
    assert new.digest != old.digest
    assert dict(new.preparation)["bits"] == 16
    np.testing.assert_allclose(new.test.volumes / 65535, old.test.volumes / 255, atol=0.002)


def test_a_large_set_is_mapped_and_is_the_same(table, monkeypatch):
    from benchharness.disk import sealed

    whole = load(table)
    monkeypatch.setattr(sealed, "MAPPED_FROM", 1000)
    mapped = load(table)
    assert mapped.digest == whole.digest
    for split in SPLITS:
        found = getattr(mapped, split).volumes
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, getattr(whole, split).volumes)
    assert len(mapped.test.subset(2)) == 2


def test_every_slice_of_a_series_enters_the_digest(tmp_path):
    rows = []
    for number in range(6):
        values, affine = scene((3, 3, 3), (number, 0, 0))
        write_series(tmp_path / f"{number}", values.astype(np.int16), affine)
        rows.append((f"{number}", number % 2, SPLITS[number // 2]))
    table = write_table(tmp_path, rows, "path,label,split")
    digests = {load(table).digest}
    paths = sorted((tmp_path / "5").iterdir())
    paths[0].rename(paths[0].with_name("zz.dcm"))
    assert load(table).digest in digests  # names within the folder do not matter
    values, affine = scene((3, 3, 3), (5, 0, 0))
    values[4, 4, 3] += 50
    write_series(tmp_path / "other", values.astype(np.int16), affine)
    changed = sorted((tmp_path / "other").iterdir())[3]
    paths[3].write_bytes(changed.read_bytes())
    digests.add(load(table).digest)
    assert len(digests) == 2
    for path in sorted((tmp_path / "0").iterdir()):
        (tmp_path / "4" / path.name).write_bytes(path.read_bytes())
    assert "train 0 and test 4 are the same file under two names" in refusal(table)


def test_one_shared_sequence_of_two_splits_is_refused(tmp_path):
    rows = []
    for number in range(6):
        for name in ("t1", "t2"):
            values, affine = scene((3, 3, 3), (number, 0, 3 * (name == "t1")))
            write_nifti(tmp_path / f"{name}-{number}.nii", values, affine)
        rows.append((f"t1-{number}.nii", f"t2-{number}.nii", number % 2, SPLITS[number // 2]))
    table = write_table(tmp_path, rows, "t1,t2,label,split")
    chosen = Preparation(size=(8, 8, 8), channels=("t1", "t2"))
    assert load(table, chosen).in_channels == 2
    turned = Preparation(size=(8, 8, 8), channels=("t2", "t1"))
    assert load(table, turned).digest != load(table, chosen).digest
    values, affine = scene((3, 3, 3), (0, 0, 0))
    write_nifti(tmp_path / "t2-5.nii.gz", values, affine)
    table.write_text(table.read_text(encoding="utf-8").replace("t2-5.nii", "t2-5.nii.gz"))
    assert "train t1-0.nii and test t1-5.nii hold the same voxels" in refusal(table, chosen)
