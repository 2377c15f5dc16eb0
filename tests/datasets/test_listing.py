"""Folders and CSVs of volumes: what is listed, and what is refused with which words."""

import pytest

from benchharness.datasets import listing
from benchharness.errors import BenchError
from tests.own_data import write_table

PLAIN = "path,label,split"
ROWS = [
    (f"{split}_{label}_{i}.npy", label, split, f"{split}{i}")
    for split in ("train", "val", "test")
    for label in (0, 1)
    for i in (0, 1)
]


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("10", "2"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            (tmp_path / "own" / split / name / "a.nii.gz").touch()
            (tmp_path / "own" / split / name / "b.NRRD").touch()
    return tmp_path / "own"


def refusal(source) -> str:
    with pytest.raises(BenchError) as caught:
        listing.read(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_lists_splits_classes_and_files(folder):
    (folder / "train" / "2" / ".DS_Store").touch()
    (folder / "notes.txt").touch()
    found = listing.read(folder)
    assert found.name == "own"
    assert found.classes == ("2", "10")
    assert len(found.items) == 12
    assert [(item.name, item.label) for item in found.of("val")] == [
        ("10/a.nii.gz", 1),
        ("10/b.NRRD", 1),
        ("2/a.nii.gz", 0),
        ("2/b.NRRD", 0),
    ]
    assert found.items[0].path == folder / "train" / "10" / "a.nii.gz"
    assert all(item.patient is None for item in found.items)


def test_words_are_sorted_as_words(folder):
    for split in ("train", "val", "test"):
        (folder / split / "10").rename(folder / split / "benign")
        (folder / split / "2").rename(folder / split / "a tumour")
    assert listing.read(folder).classes == ("a tumour", "benign")


def test_a_missing_split_is_refused(folder):
    (folder / "val").rename(folder / "validate")
    assert f"{folder} has no folder val. Put" in refusal(folder)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    assert "has no folder train and no folder val and no folder test" in refusal(tmp_path / "own")
    for split in ("train", "val", "test"):
        (tmp_path / "own" / split).mkdir()
    assert "holds no volumes. Put NIfTI" in refusal(tmp_path / "own")


def test_a_class_missing_from_a_split_is_refused(folder):
    for path in (folder / "val" / "2").iterdir():
        path.unlink()
    assert "split val has no volume of '2'" in refusal(folder)
    (folder / "val" / "2").rmdir()
    assert "split val has no volume of '2'" in refusal(folder)


def test_a_single_class_is_refused(folder):
    for split in ("train", "val", "test"):
        for path in (folder / split / "2").iterdir():
            path.unlink()
        (folder / split / "2").rmdir()
    assert "has one class, '10'" in refusal(folder)


@pytest.mark.parametrize("name", ["scan.jpg", "readme.txt", "scan.nii.zip"])
def test_another_file_among_the_volumes_is_refused(folder, name):
    (folder / "test" / "2" / name).touch()
    assert f"{name} is not a volume; class folders hold only NIfTI" in refusal(folder)


def test_volumes_at_the_wrong_depth_are_refused(folder):
    (folder / "test" / "2" / "deeper").mkdir()
    assert "deeper is a folder without volumes" in refusal(folder)
    (folder / "test" / "2" / "deeper").rmdir()
    (folder / "test" / "scan.nii").touch()
    assert "scan.nii is a file where a class folder should be" in refusal(folder)


def test_one_file_under_two_names_is_refused(folder):
    link = folder / "test" / "2" / "c.nii.gz"
    link.symlink_to(folder / "train" / "2" / "a.nii.gz")
    assert "lists one file twice: train 2/a.nii.gz and test 2/c.nii.gz" in refusal(folder)


def test_a_csv_lists_paths_labels_splits_and_patients(tmp_path):
    found = listing.read(write_table(tmp_path, ROWS[::-1]))
    assert found.name == "own"
    assert found.classes == ("class 0", "class 1")
    assert [item.name for item in found.of("train")] == [row[0] for row in ROWS[:4]]
    first = found.items[0]
    assert (first.path, first.label) == (tmp_path / "train_0_0.npy", 0)
    assert (first.split, first.patient) == ("train", "train0")


def test_a_csv_needs_no_patients_and_may_have_a_byte_order_mark(tmp_path):
    path = write_table(tmp_path, [row[:3] for row in ROWS], PLAIN)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n")
    found = listing.read(path)
    assert len(found.items) == 12
    assert found.items[0].patient is None


def changed(index: int, column: int, value: object) -> list:
    rows = [list(row) for row in ROWS]
    rows[index][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(3, 1, "1.0"), "line 5: label '1.0' is not an integer"),
        (changed(3, 1, "benign"), "line 5: label 'benign' is not an integer"),
        (changed(3, 1, "-1"), "line 5: label '-1' is not an integer from 0"),
        (changed(3, 1, "12345678"), "line 5: label '12345678' is not an integer from 0 to 9999"),
        (changed(3, 1, ""), "line 5: label is empty"),
        (changed(3, 3, ""), "line 5: patient is empty"),
        (changed(3, 2, "tests"), "'tests'. Did you mean 'test'"),
        (changed(3, 0, "a.png"), "line 5: 'a.png' is not a volume"),
        (changed(3, 0, ROWS[2][0]), "lists one file twice: train train_1_0.npy and train"),
        (changed(3, 0, f"./{ROWS[2][0]}"), "lists one file twice: train ./train_1_0.npy and"),
        (changed(3, 3, "test0"), "patient 'test0' is in test and train. Keep all"),
        (changed(0, 1, 2), "split val has no volume of 'class 2'"),
        ([row for row in ROWS if row[1] == 0], "every label is 0"),
        ([row for row in ROWS if row[2] != "val"], "split val has no volume of 'class 0'"),
        ([*ROWS, ("a.npy", 0)], "line 14: 2 cells under 4 columns"),
        ([], "has a header but no volumes"),
    ],
)
def test_a_mistake_in_a_csv_is_one_line(tmp_path, rows, message):
    source = write_table(tmp_path, rows)
    said = refusal(source)
    assert message in said
    assert str(source) in said


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,label,split,patient_id", "'patient_id'. Did you mean 'patient'"),
        ("path,class,split,patient", "it needs path, label and split once each"),
        ("path,label,patient", "it needs path, label and split once each"),
        ("path,label,split,split", "it needs path, label and split once each"),
    ],
)
def test_a_wrong_column_is_one_line(tmp_path, header, message):
    assert message in refusal(write_table(tmp_path, ROWS, header))


def test_what_is_no_csv_is_one_line(tmp_path):
    path = tmp_path / "own.csv"
    assert "cannot read" in refusal(path)
    path.write_bytes(b"")
    assert "own.csv is empty" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not a CSV in UTF-8" in refusal(path)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("0", "1", "-1"), ("-1", "0", "1")),
        (("10", "-2", "+3"), ("-2", "+3", "10")),
        (("1.5", "0.25", "10"), ("0.25", "1.5", "10")),
        (("10", "2", "benign"), ("10", "2", "benign")),
        (("01", "1", "0"), ("0", "01", "1")),
        (("-a", "1", "2"), ("-a", "1", "2")),
    ],
)
def test_folders_are_sorted_by_number_only_where_all_are_numbers(tmp_path, names, wanted):
    for split in ("train", "val", "test"):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "a.nii").touch()
    assert listing.read(tmp_path).classes == wanted
