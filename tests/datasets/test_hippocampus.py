"""hippocampus3d: made from a miniature of the archive, and from the archive where it is."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchharness import datasets
from benchharness.datasets import hippocampus
from benchharness.datasets.medmnist import data_root
from benchharness.errors import BenchError

SPLITS = ("train", "val", "test")
SHAPE = (30, 44, 32)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))


def write_patient(root, number, *, scale=1.0, step=1.0):
    """A bright front and a brighter back in the middle of a ramp; front is towards +y."""
    draws = np.random.default_rng(number)
    folder = root / hippocampus.FOLDER
    mask = np.zeros(SHAPE, np.uint8)
    mask[12:18, 26:34, 13:19] = 1
    mask[12:18, 12:26, 12:18] = 2
    values = np.indices(SHAPE)[0] + 20 * (mask > 0) + 10 * (mask == 2) + draws.normal(0, 1, SHAPE)
    affine = np.diag([step, step, step, 1.0])
    for kind, array in (("imagesTr", values * scale), ("labelsTr", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(array.astype(np.float32), affine)
        image.to_filename(folder / kind / f"hippocampus_{number:03}.nii.gz")
    (folder / "imagesTr" / f"._hippocampus_{number:03}.nii.gz").write_bytes(b"of macOS")
    return folder


@pytest.fixture
def root(tmp_path):
    for number in range(1, 13):
        write_patient(tmp_path / "data", number, scale=10.0 ** (number % 5))
    return tmp_path / "data"


def load(root):
    return datasets.load("hippocampus3d", root)


def refusal(root) -> str:
    with pytest.raises(BenchError) as caught:
        load(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_three_volumes_a_patient(root):
    found = load(root)
    assert found.classes == ("head", "body_tail", "neither")
    assert (found.modality, found.grid, found.in_channels) == ("mri", (28, 28, 28), 1)
    patients = []
    for name in SPLITS:
        split = getattr(found, name)
        assert split.volumes.dtype == np.uint16
        assert split.spacing == pytest.approx((20 / 28,) * 3)
        np.testing.assert_array_equal(split.labels, np.tile([0, 1, 2], len(split) // 3))
        patients.append(set(split.patients))
        for place, patient in enumerate(split.patients):
            label = found.classes[split.labels[place]]
            assert split.ids[place] == f"hippocampus3d/{name}/{patient}/{label}"
    assert sum(map(len, patients)) == 12
    assert not any(patients[i] & patients[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert found.notes == ()


def test_cubes_lie_inside_and_about_the_right_part(root):
    """The ramp along x says where a cube lies; a cube beyond the volume would have a black face."""
    found = load(root)
    test = found.test
    for volume, label in zip(test.volumes[:, 0], test.labels, strict=True):
        low, high = (volume[:, :, end].mean() for end in (0, -1))
        assert high > low  # left to right
        middle = volume[9:19, 9:19, 9:19].mean()
        rim = volume[:, [0, -1]].mean()
        assert (middle > rim + 8000) == (label != 2)
        assert (volume == 0).mean() < 0.05
    head, body = (test.volumes[test.labels == label][0, 0].astype(int) for label in (0, 1))
    # Behind the head lies the brighter body; in front of the body the head.
    assert head[10:18, 2:8, 10:18].mean() > head[10:18, 20:26, 10:18].mean() + 5000
    assert body[10:18, 10:18, 10:18].mean() > head[10:18, 12:18, 10:18].mean()


def test_the_digest_follows_from_the_files_and_not_from_their_place(root, tmp_path):
    digest = load(root).digest
    moved = root.rename(tmp_path / "elsewhere")
    assert load(moved).digest == digest
    write_patient(moved, 3, scale=2.0)
    assert load(moved).digest != digest
    for kind in ("imagesTr", "labelsTr"):
        (moved / hippocampus.FOLDER / kind / "hippocampus_004.nii.gz").unlink()
    assert len({load(moved).digest, digest}) == 2


def test_absent_cases_are_noted(root):
    folder = root / hippocampus.FOLDER
    (folder / "labelsTr" / "hippocampus_004.nii.gz").unlink()
    (folder / "dataset.json").write_text(json.dumps({"numTraining": 13}))
    assert load(root).notes == (
        "hippocampus3d: hippocampus_004 has an image or a mask only and is left out.",
        "hippocampus3d: 2 of the 13 cases of dataset.json are not here.",
    )


def test_an_absent_archive_says_where_it_comes_from(tmp_path):
    said = refusal(tmp_path)
    assert "Fetch Task04_Hippocampus.tar from http://medicaldecathlon.com" in said
    assert f"hippocampus3d needs {tmp_path}/Task04_Hippocampus/imagesTr and labelsTr" in said


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda mask: np.where(mask == 2, 1, mask), "has no voxel of label 2 (body_tail)"),
        (lambda mask: mask[1:], "lies elsewhere than"),
        (lambda mask: mask * np.nan, "holds NaN or infinity"),
    ],
)
def test_an_unfit_mask_is_one_line(root, harm, message):
    path = root / hippocampus.FOLDER / "labelsTr" / "hippocampus_005.nii.gz"
    image = nibabel.load(path)
    nibabel.Nifti1Image(harm(image.get_fdata()), image.affine).to_filename(path)
    said = refusal(root)
    assert message in said
    assert "hippocampus_005" in said


def test_a_volume_smaller_than_the_cube_and_a_damaged_one_are_one_line(root):
    write_patient(root, 5, step=0.5)
    assert "hippocampus_005.nii.gz is smaller than a cube of 20 mm" in refusal(root)
    path = root / hippocampus.FOLDER / "imagesTr" / "hippocampus_005.nii.gz"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot read volume" in refusal(root)


@pytest.mark.parametrize("step", [1.0, 0.8])
def test_the_emptiest_cube_has_the_fewest_voxels(step):
    draws = np.random.default_rng(0)
    inside = draws.random((25, 27, 26)) < 0.3
    room = np.full(3, 20 / step) if step == 1.0 else np.full(3, 19.5)
    centre = hippocampus._emptiest(inside, room, "P")
    corner = np.rint(centre - 9.5).astype(int)
    counts = {
        (i, j, k): int(inside[i : i + 20, j : j + 20, k : k + 20].sum())
        for i in range(6)
        for j in range(8)
        for k in range(7)
    }
    assert counts[tuple(corner.tolist())] == min(counts.values())
    empty = np.zeros((25, 27, 26), bool)
    ties = {tuple(hippocampus._emptiest(empty, room, f"P{n}").tolist()) for n in range(20)}
    assert len(ties) > 10
    assert tuple(hippocampus._emptiest(empty, room, "P0").tolist()) in ties


ARCHIVE = data_root() / hippocampus.FOLDER


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.is_dir(), reason=f"needs {ARCHIVE}")
def test_the_archive_as_it_is():
    found = datasets.load("hippocampus3d")
    patients = [set(getattr(found, name).patients) for name in SPLITS]
    count = len(list(Path(ARCHIVE / "labelsTr").glob("[!.]*.nii.gz")))
    assert sum(map(len, patients)) == count
    assert not patients[0] & patients[2]
    for name, share in zip(SPLITS, (0.5, 0.1, 0.4), strict=True):
        split = getattr(found, name)
        assert abs(len(split) / (3 * count) - share) < 0.06
        assert (np.bincount(split.labels) == len(split) // 3).all()
        assert (split.volumes.reshape(len(split), -1).max(axis=1) > 30000).all()
    if count == 260:
        assert [len(getattr(found, name)) for name in SPLITS] == [381, 75, 324]
        assert found.digest.startswith("sha256:5cb0ce9d7332")


def test_a_part_at_the_edge_gets_a_cube_that_still_lies_inside(root):
    folder = root / hippocampus.FOLDER
    image, mask = hippocampus.layers(
        [folder / kind / "hippocampus_001.nii.gz" for kind in ("imagesTr", "labelsTr")]
    )
    mask.values[:] = 0
    mask.values[0, 43, 15] = 1
    mask.values[15, 22, 16] = 2
    room = np.full(3, 20.0)
    found = hippocampus._centre("head", mask, room, "P")
    np.testing.assert_allclose(found, [9.5, 33.5, 15])  # 10 voxels from the outer faces
    found = hippocampus._centre("body_tail", mask, room, "P")
    np.testing.assert_allclose(found, [15, 22, 16])
    assert image.header.shape == SHAPE
