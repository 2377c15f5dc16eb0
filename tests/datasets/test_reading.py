"""One file → one grid: orientation, spacing, window, and files that cannot be used."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from benchharness.datasets import reading
from benchharness.datasets.preparation import Window
from benchharness.errors import BenchError
from tests.own_data import FIELD, ORIENTATIONS, SPACINGS, scene, write_nifti

ALL = Window(kind="percentiles", low=0, high=100)


def grid(path, size=(24, 24, 24), spacing=(1.0, 1.0, 1.0), window=ALL):
    return reading.grid(path, size=size, spacing=spacing, window=window)


def reference():
    """The scene at 1 mm as (D, H, W), computed without the code under test."""
    values, _ = scene((1, 1, 1))
    scaled = (values - values.min()) / (values.max() - values.min())
    return np.rint(scaled.transpose(2, 1, 0) * 255).astype(int)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_gives_the_same_grid(tmp_path, orientation):
    path = write_nifti(tmp_path / "a.nii.gz", *scene((1, 1, 1)), orientation)
    found = grid(path)
    np.testing.assert_array_equal(found, reference())
    peak = np.unravel_index(found.argmax(), found.shape)
    # 5 mm up, 3 mm back and 4 mm to the right of a centre at 11.5.
    assert tuple(map(int, peak)) in {(d, h, w) for d in (16, 17) for h in (8, 9) for w in (15, 16)}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("orientation", ["RAS", "SPR"])
def test_every_spacing_shows_the_same_scene(tmp_path, spacing, orientation):
    path = write_nifti(tmp_path / "a.nii", *scene(spacing), orientation)
    off = np.abs(grid(path).astype(int) - reference())
    # Slices of 3 mm miss the peak; a flipped or shifted axis would be off by 255.
    assert off.max() <= 40
    assert off.mean() < 3


def test_nrrd_and_nifti_agree(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", *scene(SPACINGS[1]), "LPS")
    image = SimpleITK.ReadImage(str(path))
    SimpleITK.WriteImage(image, str(tmp_path / "a.NRRD".lower()))
    one, other = reading.header(path), reading.header(tmp_path / "a.nrrd")
    assert one.shape == other.shape
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    np.testing.assert_array_equal(grid(path), grid(tmp_path / "a.nrrd"))


def test_a_numpy_volume_is_depth_height_width_already(tmp_path):
    np.save(tmp_path / "a.npy", scene((1, 1, 1))[0].transpose(2, 1, 0))
    np.testing.assert_array_equal(grid(tmp_path / "a.npy"), reference())
    assert reading.header(tmp_path / "a.npy").affine is None


def test_the_extent_is_by_the_bodys_axes(tmp_path):
    values = np.zeros((10, 20, 30), np.float32)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    for orientation in ORIENTATIONS:
        path = write_nifti(tmp_path / f"{orientation}.nii", values, affine, orientation)
        assert reading.header(path).extent == pytest.approx((90, 40, 10))
    np.save(tmp_path / "a.npy", values)
    assert reading.header(tmp_path / "a.npy").extent == (10, 20, 30)


def test_a_smaller_grid_crops_and_a_larger_one_pads_with_black_about_the_centre(tmp_path):
    path = write_nifti(tmp_path / "a.nii", *scene((1, 1, 1)))
    whole = grid(path)
    np.testing.assert_array_equal(grid(path, (12, 24, 20)), whole[6:18, :, 2:22])
    padded = grid(path, (28, 24, 30))
    np.testing.assert_array_equal(padded[2:26, :, 3:27], whole)
    padded[2:26, :, 3:27] = 0
    assert not padded.any()


def test_padding_is_as_dark_as_the_low_end_of_a_ct_window(tmp_path):
    values = np.full((8, 8, 8), -1000, np.float32)
    values[2:6, 2:6, 2:6] = 40
    path = write_nifti(tmp_path / "a.nii", values, np.eye(4))
    found = grid(path, (12, 12, 12), window=Window.parse("ct:40,400"))
    np.testing.assert_array_equal(np.unique(found), [0, 128])
    assert (found == 128).sum() == 64


def test_a_single_slice_stays_a_single_slice(tmp_path):
    values, affine = scene((1, 1, 1))
    path = write_nifti(tmp_path / "a.nii", values[:, :, 16:17], affine @ np.diag([1, 1, 5, 1]))
    found = grid(path, (1, 24, 24))
    part = values[:, :, 16].T
    wanted = (part - part.min()) / (part.max() - part.min()) * 255
    np.testing.assert_array_equal(found[0], np.rint(wanted))


def test_what_gets_coarser_is_smoothed_first(tmp_path):
    board = (np.indices((24, 24, 24)).sum(0) % 2 * 100).astype(np.float32)
    path = write_nifti(tmp_path / "a.nii", board, np.eye(4))
    found = grid(path, (8, 8, 8), (3.0, 3.0, 3.0))
    # Every third voxel of a checkerboard is a checkerboard again, unless it is smoothed away.
    assert found.max() - found.min() < 40


def test_percentiles_clip_the_brightest_voxels(tmp_path):
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    path = write_nifti(tmp_path / "a.nii", values, np.eye(4))
    found = grid(path, (10, 10, 10), window=Window.parse("percentiles:10,90"))
    assert (found == 0).mean() == pytest.approx(0.1, abs=0.005)
    assert (found == 255).mean() == pytest.approx(0.1, abs=0.005)


def refusal(path, **options) -> str:
    with pytest.raises(BenchError) as caught:
        grid(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "text", "short"])
def test_a_volume_that_cannot_be_read_is_one_line(tmp_path, name, damage):
    path = tmp_path / name
    values, affine = scene((1, 1, 1))
    if name == "a.npy":
        np.save(path, values)
    elif name == "a.nrrd":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    else:
        write_nifti(path, values, affine)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "text": b"hello", "short": content[:-900]}[damage])
    assert "cannot read volume" in refusal(path)


def test_channels_and_time_points_are_refused(tmp_path):
    for shape in ((4, 5, 6, 2), (4, 5)):
        nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)).to_filename(tmp_path / "a.nii")
        said = refusal(tmp_path / "a.nii")
        assert f"has shape {shape}; expected one volume of three axes" in said
        np.save(tmp_path / "a.npy", np.zeros(shape))
        assert f"has shape {shape}" in refusal(tmp_path / "a.npy")
    vectors = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6, 3), np.float32), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "a.nrrd"))
    assert "has shape (6, 5, 4, 3)" in refusal(tmp_path / "a.nrrd")


def test_an_nrrd_whose_voxels_lie_elsewhere_is_refused(tmp_path):
    image = SimpleITK.GetImageFromArray(scene((1, 1, 1))[0])
    SimpleITK.WriteImage(image, str(tmp_path / "a.nhdr"))
    (tmp_path / "a.nhdr").rename(tmp_path / "a.nrrd")
    assert "keeps its voxels in another file" in refusal(tmp_path / "a.nrrd")


def test_lone_trailing_axes_are_dropped(tmp_path):
    values, affine = scene((1, 1, 1))
    nibabel.Nifti1Image(values[..., None], affine).to_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(grid(tmp_path / "a.nii"), reference())


def test_voxels_that_are_no_numbers_are_refused(tmp_path):
    values, affine = scene((1, 1, 1))
    values[3, 4, 5] = np.nan
    assert "holds NaN or infinity" in refusal(write_nifti(tmp_path / "a.nii", values, affine))
    np.save(tmp_path / "a.npy", values.astype(np.complex64))
    assert "holds complex64 voxels" in refusal(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.asarray([[[{}]]], dtype=object))
    assert "cannot read volume" in refusal(tmp_path / "a.npy")
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4))
    image.to_filename(tmp_path / "b.nii")
    assert "holds complex64 voxels" in refusal(tmp_path / "b.nii")


def test_a_volume_without_contrast_is_refused(tmp_path):
    values, affine = scene((1, 1, 1))
    path = write_nifti(tmp_path / "a.nii", values * 0 + 7, affine)
    assert "percentiles 0 and 100 are both 7, so no contrast is left" in refusal(path)
    said = refusal(path, window=Window.parse("ct:-600,100"))
    assert "is 255 everywhere on a grid of (24, 24, 24) at 1 × 1 × 1" in said


def test_an_affine_without_a_step_is_refused(tmp_path):
    values, _ = scene((1, 1, 1))
    image = nibabel.Nifti1Image(values, None)
    image.header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    image.to_filename(tmp_path / "a.nii")
    assert "has no valid affine in its header" in refusal(tmp_path / "a.nii")
    assert FIELD == 24
