"""A person's own volumes the whole way: from files to records to a report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from benchharness.store.folder import Store
from benchharness.training import recipes
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
        "size": [12, 12, 12],
        "spacing": [2.0, 2.0, 2.0],  # 24 mm on 12 voxels
        "version": 1,
        "window": "percentiles:0.5,99.5",
    }

    code, said, _ = bench("report", "out")
    assert code == 0
    assert "tiny" in said
    page = (tmp_path / "out" / "report" / "report.html").read_text()
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
        (2, "validation", "unknown split in own.csv, line"),
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
        (("--size", "28"), "--size, --spacing, --window and --modality are for a folder or a CSV"),
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
