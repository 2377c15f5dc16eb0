"""A person's own volumes the whole way: from files to records to a report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from benchharness.store.folder import Store
from benchharness.training import recipes
from tests.dicom_data import write_series
from tests.own_data import scene, write_folder, write_nifti, write_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Bench = Callable[..., tuple[int, str, str]]

RUN = ("run", "--models", "tests.samples:tiny", "--device", "cpu", "--out", "out")


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=6, batch_size=9, learning_rate=0.02)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))


def test_a_folder_of_nifti_files_goes_from_run_to_report(bench: Bench, tmp_path: Path) -> None:
    write_folder(tmp_path / "lesions")
    files = [*(tmp_path / "lesions").rglob("*.nii*")]
    headers = [nibabel.load(path) for path in files]
    assert len(files) == 76
    assert len({nibabel.aff2axcodes(header.affine) for header in headers}) == 6
    assert len({header.header.get_zooms() for header in headers}) > 6

    run = (*RUN, "--datasets", "lesions", "--size", "12", "--attacks", "fgsm", "--eps", "8/255")
    code, said, error = bench(*run, "--artefacts", "gaussian_noise", "--severities", "1,5")
    assert (code, error) == (0, "")
    assert "6 cells run, 0 were recorded already, 1 checkpoints trained" in said
    code, said, _ = bench(*run)
    assert (code, "0 cells run, 4 were recorded already" in said) == (0, True)

    store = Store(tmp_path / "out")
    records = list(store.records().values())
    key = records[0].cell.dataset
    assert (key.name, key.count, key.total, key.split) == ("lesions", 24, 24, "test")
    assert records[0].metrics["accuracy"] >= 0.9  # orientation and window have kept the signal
    found = store.predictions(records[0])
    assert found.ids[0] == "lesions/test/bright/00.nii.gz"
    assert found.patients is None
    assert records[0].provenance["preparation"] == {
        "fitted_to": "bright/00.nii",
        "bits": 16,
        "size": [12, 12, 12],
        "spacing": [2.0, 2.0, 2.0],  # 24 mm on 12 voxels
        "version": 1,
        "window": "percentiles:0.5,99.5",
    }

    code, said, _ = bench("report", "out")
    assert code == 0
    assert "tiny" in said
    page = (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "lesions" in page
    assert key.digest in page


def test_other_options_are_other_data(bench: Bench, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", {"train": 3, "val": 2, "test": 3})
    run = (*RUN, "--datasets", "own", "--size", "8")
    assert bench(*run)[0] == 0
    assert "1 cells run, 0 were" in bench(*run, "--window", "ct:250,400")[1]
    assert "1 cells run, 0 were" in bench(*run, "--spacing", "2.5")[1]
    (tmp_path / "bench.toml").write_text('size = 8\nspacing = 2.5\ndatasets = ["own"]\n')
    assert "0 cells run, 1 were" in bench(*RUN, "--config", "bench.toml", "--modality", "mri")[1]
    digests = {r.cell.dataset.digest for r in Store(tmp_path / "out").records().values()}
    assert len(digests) == 3
    assert {r.cell.dataset.modality for r in Store(tmp_path / "out").records().values()} == {
        "ct",
        "unknown",
    }


def patients(folder: Path) -> list[list[object]]:
    """Rows of a CSV with two volumes a patient, their files written."""
    draws = np.random.Generator(np.random.PCG64(3))
    rows: list[list[object]] = []
    for split, count in (("train", 16), ("val", 8), ("test", 16)):
        for number in range(count):
            label = number // 2 % 2
            values, affine = scene((2, 2, 2), draws.uniform(-4, 4, 3), 1.0 if label else 0.1)
            values += draws.normal(0, 8, values.shape).astype(np.float32)
            name = f"scans/{split}-{number}.nii.gz"
            write_nifti(folder / name, values, affine)
            rows.append([name, label, split, f"{split}-{number // 2}"])
    return rows


def test_patients_of_a_csv_are_kept_with_the_predictions(bench: Bench, tmp_path: Path) -> None:
    write_table(tmp_path, patients(tmp_path))
    code, _, error = bench(*RUN, "--datasets", "own.csv", "--size", "12")
    assert (code, error) == (0, "")
    store = Store(tmp_path / "out")
    (record,) = store.records().values()
    found = store.predictions(record)
    assert found.patients is not None
    assert sorted(set(found.patients.tolist())) == sorted(f"test-{n}" for n in range(8))
    for name, patient in zip(found.ids.tolist(), found.patients.tolist(), strict=True):
        assert name.startswith(f"own/test/{patient}/scans/")
    code, _, _ = bench("report", "out")
    assert code == 0


def remove_class(folder: Path) -> None:
    for path in (folder / "val" / "faint").iterdir():
        path.unlink()


def damage(folder: Path) -> None:
    (folder / "test" / "faint" / "01.nii.gz").write_bytes(b"no volume")


def empty(folder: Path) -> None:
    for path in folder.rglob("*.nii*"):
        path.unlink()


def add_channels(folder: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((8, 8, 8, 3), np.float32), np.eye(4))
    image.to_filename(folder / "test" / "faint" / "colour.nii")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove_class, "split val has no volume of 'faint'"),
        (damage, "cannot read volume own/test/faint/01.nii.gz"),
        (empty, "own holds no volumes"),
        (add_channels, "colour.nii has shape (8, 8, 8, 3); expected one volume"),
    ],
)
def test_a_mistake_in_a_folder_is_one_line(
    bench: Bench, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    write_folder(tmp_path / "own", {"train": 2, "val": 1, "test": 2})
    harm(tmp_path / "own")
    assert_refused(bench(*RUN, "--datasets", "own", "--size", "8"), message, tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, "scans/none.nii", "cannot read volume scans/none.nii: No such file"),
        (0, "scans/train-0.nii.gz", "lists one file twice"),
        (1, "benign", "label 'benign' is not an integer"),
        (2, "validate", "unknown split in own.csv, line"),
        (3, "train-0", "patient 'train-0' is in test and train"),
    ],
)
def test_a_mistake_in_a_csv_is_one_line(
    bench: Bench, tmp_path: Path, column: int, value: str, message: str
) -> None:
    rows = patients(tmp_path)
    rows[-1][column] = value
    write_table(tmp_path, rows)
    assert_refused(bench(*RUN, "--datasets", "own.csv", "--size", "8"), message, tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--size", "0"), "--size must lie in 1 to 1024 voxels, got '0'"),
        (("--spacing", "-1"), "--spacing must be above 0 mm, got '-1'"),
        (("--window", "ct:40"), "--window cannot be 'ct:40'. Type percentiles:0.5,99.5"),
        (("--size", "28"), "--size is for your own volumes"),
        (("--modality", "mir"), "unknown modality 'mir'. Did you mean 'mri'"),
        (("--datasets", "nowhere/own"), "cannot read nowhere/own: No such file"),
        (("--datasets", "nowhere.csv"), "cannot read nowhere.csv: No such file"),
        (("--datasets", "chestmnist"), "chestmnist is multi-label"),
    ],
)
def test_a_mistaken_flag_is_one_line(
    bench: Bench, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    assert_refused(bench(*RUN, *flags), message, tmp_path)


def assert_refused(result: tuple[int, str, str], message: str, folder: Path) -> None:
    code, said, error = result
    assert (code, said) == (2, "")
    assert message in error
    assert error.startswith("bench: ")
    assert error.count("\n") == 1
    assert not (folder / "out").exists()
    assert not [*(folder / "cache").rglob("*.npz"), *(folder / "cache").rglob("*.json")]


def test_millimetres_reach_the_artefacts(bench: Bench, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", {"train": 3, "val": 2, "test": 3})
    run = (*RUN, "--datasets", "own", "--size", "8", "--artefacts", "blur,bias_field")
    assert "3 cells run, 0 were" in bench(*run, "--severities", "3")[1]
    # The batched implementation knows no millimetres, so that it is not taken: the same cells.
    assert "0 cells run, 3 were" in bench(*run, "--severities", "3", "--fast-artefacts")[1]


def test_sequences_of_a_csv_go_from_run_to_a_store_with_what_else_is_known(
    bench: Bench, tmp_path: Path
) -> None:
    rows = []
    draws = np.random.Generator(np.random.PCG64(3))
    for split, count in (("train", 6), ("val", 4), ("test", 4)):
        for number in range(count):
            word = ("normal", "malignant")[number % 2]
            names = [f"{split}{number}-{name}.nii.gz" for name in ("t1", "flair")]
            for name, spacing in zip(names, ((2, 2, 2), (1, 2, 3)), strict=True):
                values, affine = scene(spacing, draws.uniform(-4, 4, 3), 1.0 if number % 2 else 0.1)
                write_nifti(tmp_path / name, values, affine)
            rows.append([*names, word, split, f"{split}{number}", f"site {number % 2}"])
    write_table(tmp_path, rows, "T1,FLAIR,Label,Split,Patient,Site")
    run = (*RUN, "--datasets", "own.csv", "--size", "8")
    assert_refused(bench(*run), "type --channels t1,flair", tmp_path)
    code, _, error = bench(*run, "--channels", "t1,flair", "--classes", "normal,malignant")
    assert (code, error) == (0, "")
    store = Store(tmp_path / "out")
    (record,) = store.records().values()
    assert record.provenance["preparation"]["channels"] == ["t1", "flair"]
    assert record.provenance["preparation"]["bits"] == 16
    (path,) = (tmp_path / "out" / "metadata").iterdir()
    assert path.stem == record.cell.dataset.digest.removeprefix("sha256:")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["id,site", "own/test/test0/test0-t1.nii.gz,site 0"]
    assert [line.split(",")[0] for line in lines[1:]] == store.predictions(record).ids.tolist()
    assert store.predictions(record).labels.tolist() == [0, 1, 0, 1]


def test_series_in_folders_of_patients_and_8_bits(bench: Bench, tmp_path: Path) -> None:
    draws = np.random.Generator(np.random.PCG64(3))
    for split, count in (("train", 3), ("validation", 2), ("test", 2)):
        for name, contrast in (("bright", 1.0), ("faint", 0.1)):
            for number in range(count):
                values, affine = scene((3, 3, 3), draws.uniform(-4, 4, 3), contrast)
                folder = tmp_path / "own" / split / name / f"{split}{name}{number}" / "series"
                write_series(folder, np.rint(values).astype(np.int16), affine)
    run = (*RUN, "--datasets", "own", "--size", "8")
    assert bench(*run)[0] == 0
    (record,) = Store(tmp_path / "out").records().values()
    found = Store(tmp_path / "out").predictions(record)
    assert found.patients.tolist()[:2] == ["testbright0", "testbright1"]
    assert found.ids[0] == "own/test/testbright0/bright/testbright0/series"
    assert "1 cells run, 0 were" in bench(*run, "--bits", "8")[1]


def test_an_archive_of_floats_asks_for_a_window(bench: Bench, tmp_path: Path) -> None:
    draws = np.random.Generator(np.random.PCG64(3))
    held = {}
    for split in ("train", "val", "test"):
        held[f"{split}_images"] = draws.random((6, 8, 8, 8), np.float32)
        held[f"{split}_labels"] = np.arange(6) % 2
    np.savez(tmp_path / "own.npz", **held)
    run = (*RUN, "--datasets", "own.npz")
    assert_refused(bench(*run), "Type --window: range:0,1 for numbers from 0 to 1", tmp_path)
    assert_refused(bench(*run, "--modality", "mri"), "Type --window: range:0,1", tmp_path)
    assert_refused(bench(*run, "--size", "8"), "Type --window: range:0,1", tmp_path)
    ranged = (*run, "--window", "range:0,1")
    assert_refused(bench(*ranged, "--size", "8"), "--size is for your own volumes", tmp_path)
    assert bench(*ranged)[0] == 0
    assert_refused(
        bench(*RUN, "--datasets", "phantom3d", *ranged[-2:], "--out", "none"),
        "--window is for your own volumes",
        tmp_path / "none",
    )
