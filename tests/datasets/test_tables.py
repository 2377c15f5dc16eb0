"""CSVs as spreadsheets and other programs write them: separators, words, splits, other columns."""

import pytest

from benchharness.datasets import listing
from benchharness.errors import BenchError

ROWS = [
    (f"{split}{label}{i}.nii", label, split, f"{split}{i}", "B" if i else "A", "61")
    for split in ("train", "val", "test")
    for label in (0, 1)
    for i in (0, 1)
]
HEADER = ("path", "label", "split", "patient", "site", "age")


def write(folder, rows=ROWS, header=HEADER, separator=",", words=None, prefix=""):
    path = folder / "own.csv"
    lines = [separator.join(map(str, header))]
    for row in rows:
        cells = list(row)
        if words is not None:
            cells[header.index("label")] = words[int(cells[header.index("label")])]
        lines.append(separator.join(map(str, cells)))
    path.write_text(prefix + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(path, *options) -> str:
    with pytest.raises(BenchError) as caught:
        listing.read(path, *options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_separators_capitals_and_a_byte_order_mark_change_nothing(tmp_path, separator, prefix):
    wanted = listing.read(write(tmp_path))
    shouted = tuple(name.upper() for name in HEADER)
    found = listing.read(write(tmp_path, ROWS, shouted, separator, None, prefix))
    assert found == wanted
    assert found.columns == ("site", "age")
    assert found.items[0].metadata == ("A", "61")
    assert found.items[0].patient == "train0"


def test_other_columns_may_be_empty_and_an_index_is_left_out(tmp_path):
    rows = [(n, *row[:5], "") for n, row in enumerate(ROWS)]
    found = listing.read(write(tmp_path, rows, ("", *HEADER)))
    assert found.columns == ("site", "age")
    assert {item.metadata[1] for item in found.items} == {""}


@pytest.mark.parametrize("spelling", ["validation", "valid", "dev", "Val"])
def test_splits_have_other_names(tmp_path, spelling):
    rows = [(*row[:2], spelling if row[2] == "val" else row[2], *row[3:]) for row in ROWS]
    assert listing.read(write(tmp_path, rows)).items == listing.read(write(tmp_path)).items


def test_words_are_sorted_unless_an_order_is_given(tmp_path):
    path = write(tmp_path, words=("normal", "malignant"))
    found = listing.read(path)
    assert found.classes == ("malignant", "normal")
    assert {(item.label, item.name[-6]) for item in found.items} == {(1, "0"), (0, "1")}
    ordered = listing.read(path, None, ("normal", "malignant"))
    assert ordered.classes == ("normal", "malignant")
    assert {(item.label, item.name[-6]) for item in ordered.items} == {(0, "0"), (1, "1")}


def test_numbers_may_be_named(tmp_path):
    assert listing.read(write(tmp_path), None, ("no", "yes")).classes == ("no", "yes")
    assert "--classes names 3 classes, but" in refusal(write(tmp_path), None, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("words", "classes", "message"),
    [
        (("benign", "malignant"), ("benign", "cancer"), "unknown class of"),
        (("benign", "Benign"), None, "'Benign' and 'benign', which differ only in case"),
        (("benign", "malignant"), ("benign", "malignant", "other"), "no volume of 'other'"),
        (("0", "malignant"), None, "label 'malignant' is not an integer from 0"),
        (("sick", "sick"), None, "has one class, 'sick'"),
    ],
)
def test_mistaken_words_are_one_line(tmp_path, words, classes, message):
    assert message in refusal(write(tmp_path, words=words), None, classes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("patientid", "unknown column of"),
        ("pateint", "Did you mean 'patient'"),
        ("Subject_ID", "has a column 'subject_id' and none for the patient. Call it patient"),
        ("site", "needs path, label and split once each"),
    ],
)
def test_a_patient_under_another_name_is_not_taken_for_something_else(tmp_path, name, message):
    header = tuple(name if column == "patient" else column for column in HEADER)
    assert message in refusal(write(tmp_path, header=header))


SEQUENCES = [(f"{row[0]}", f"flair-{row[0]}", *row[1:4]) for row in ROWS]
COLUMNS = ("t1", "flair", "label", "split", "patient")


def test_columns_of_sequences_become_paths(tmp_path):
    found = listing.read(write(tmp_path, SEQUENCES, COLUMNS), ("t1", "flair"))
    assert [path.name for path in found.items[0].paths] == ["train00.nii", "flair-train00.nii"]
    assert found.items[0].name == "train00.nii"
    assert found.columns == ()
    turned = listing.read(write(tmp_path, SEQUENCES, COLUMNS), ("flair", "t1"))
    assert turned.items[0].paths[0].name == "flair-train00.nii"


def test_sequences_are_refused_with_what_to_type(tmp_path):
    path = write(tmp_path, SEQUENCES, COLUMNS)
    said = refusal(path)
    assert "If t1,flair are sequences of one examination, type --channels t1,flair." in said
    assert "it needs t1, t2, label and split once each" in refusal(path, ("t1", "t2"))
    shared = [(row[0], SEQUENCES[0][1], *row[2:]) for row in SEQUENCES]
    assert "lists one file twice" in refusal(write(tmp_path, shared, COLUMNS), ("t1", "flair"))
    single = [(row[0], *row[2:]) for row in SEQUENCES]
    assert "Call scan path." in refusal(write(tmp_path, single, ("scan", *COLUMNS[2:])))
    (tmp_path / "own").mkdir()
    assert "names columns of a CSV, but" in refusal(tmp_path / "own", ("t1", "flair"))


def test_a_folder_of_slices_may_be_listed_but_no_other(tmp_path):
    rows = [(row[0].removesuffix(".nii"), *row[1:]) for row in ROWS]
    for row in rows:
        (tmp_path / row[0]).mkdir()
    assert listing.read(write(tmp_path, rows)).items[0].path == tmp_path / "train00"
    (tmp_path / "train00").rmdir()
    assert "'train00' is not a volume; list" in refusal(write(tmp_path, rows))
