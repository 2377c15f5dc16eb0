"""Class folders as people have them: patients, series, headers beside their voxels."""

import pytest

from benchharness.datasets import listing
from benchharness.errors import BenchError

MAGIC = bytes(128) + b"DICM"
META = "ObjectType = Image\nElementSpacing = 1 1 1\nElementDataFile = a.raw\n"


def fill(folder, files, names=("train", "val", "test")):
    """The same files in every class of every split; `{}` in a name is the split's."""
    for split in names:
        for label in ("benign", "malignant"):
            for name, content in files.items():
                path = folder / split / label / name.format(f"{split}-{label}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def names(folder):
    return [(item.name, item.patient) for item in listing.read(folder).of("val")]


def refusal(folder) -> str:
    with pytest.raises(BenchError) as caught:
        listing.read(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_folders_of_patients_name_the_patient(tmp_path):
    fill(tmp_path, {"{}/a.nii.gz": b"", "{}/visit2/b.nrrd": b""})
    assert names(tmp_path) == [
        ("benign/val-benign/a.nii.gz", "val-benign"),
        ("benign/val-benign/visit2/b.nrrd", "val-benign"),
        ("malignant/val-malignant/a.nii.gz", "val-malignant"),
        ("malignant/val-malignant/visit2/b.nrrd", "val-malignant"),
    ]


def test_a_patient_in_two_splits_is_refused(tmp_path):
    fill(tmp_path, {"{}/a.nii": b""})
    for split in ("train", "test"):
        path = tmp_path / split / "benign" / "P7" / "a.nii"
        path.parent.mkdir()
        path.touch()
    assert "patient 'P7' is in test and train" in refusal(tmp_path)


def test_a_folder_of_slices_is_a_volume(tmp_path):
    fill(tmp_path, {"{}/IM0": MAGIC, "{}/IM1": MAGIC})
    assert names(tmp_path) == [("benign/val-benign", None), ("malignant/val-malignant", None)]
    fill(tmp_path, {"{}/1.dcm": b""})  # by its suffix
    assert len(names(tmp_path)) == 2


def test_series_below_patients_are_volumes_of_these(tmp_path):
    fill(tmp_path, {"{}/s1/IM0": MAGIC, "{}/s2/IM0": MAGIC})
    assert names(tmp_path)[:2] == [
        ("benign/val-benign/s1", "val-benign"),
        ("benign/val-benign/s2", "val-benign"),
    ]
    fill(tmp_path, {"{}-only/IM0": MAGIC})
    assert ("benign/val-benign-only", "val-benign-only") in names(tmp_path)


def test_volumes_beside_folders_of_patients_are_refused(tmp_path):
    fill(tmp_path, {"{}/a.nii": b"", "b.nii": b""})
    assert "has folders of patients, but" in refusal(tmp_path)
    assert "b.nii lies beside them. Put it into the folder of its patient" in refusal(tmp_path)


def test_voxels_beside_their_header_are_no_volumes(tmp_path):
    fill(tmp_path, {"a.mhd": META, "a.raw": b"", "b.hdr": b"", "b.img": b""})
    assert [name for name, _ in names(tmp_path)][:2] == ["benign/a.mhd", "benign/b.hdr"]
    fill(tmp_path, {"c.raw": b""})
    assert "c.raw is not a volume; class folders hold only NIfTI" in refusal(tmp_path)


def test_slices_in_a_class_folder_want_a_folder_of_their_own(tmp_path):
    fill(tmp_path, {"IM0": MAGIC})
    assert "not a volume but a DICOM slice. Put the slices of each series into" in refusal(tmp_path)


def test_splits_have_other_names_but_one_each(tmp_path):
    fill(tmp_path, {"{}.nii": b""}, ("Training", "validation", "test"))
    assert len(listing.read(tmp_path).of("train")) == 2
    assert names(tmp_path)[0] == ("benign/validation-benign.nii", None)
    (tmp_path / "dev").mkdir()
    assert "has the folders dev and validation for one split. Keep one" in refusal(tmp_path)


def test_an_order_of_classes_is_heeded(tmp_path):
    fill(tmp_path, {"{}.nii": b""})
    found = listing.read(tmp_path, None, ("malignant", "benign"))
    assert found.classes == ("malignant", "benign")
    assert {(item.label, item.name.split("/")[0]) for item in found.items} == {
        (0, "malignant"),
        (1, "benign"),
    }
    with pytest.raises(BenchError, match=r"unknown class of .* 'malignant'"):
        listing.read(tmp_path, None, ("benign", "cancer"))
