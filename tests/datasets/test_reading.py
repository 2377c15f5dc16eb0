"""One file → one grid: orientation, spacing, window, and files that cannot be used."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from benchharness.datasets import reading
from benchharness.datasets.preparation import Preparation, Window
from benchharness.errors import BenchError
from tests.own_data import FIELD, ORIENTATIONS, SPACINGS, scene, write_nifti

ALL = Window(kind="percentiles", low=0, high=100)


def grid(path, size=(24, 24, 24), spacing=(1.0, 1.0, 1.0), window=ALL):
    return made(path, size, spacing, window).volume[0]


def made(path, size=(8, 8, 8), spacing=(1.0, 1.0, 1.0), window=ALL):
    return reading.make((path,), Preparation(size=size, window=window, bits=8), spacing)


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
        assert ("type --channels 2" in said) == (len(shape) == 4)
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


def flipped_bits(path, number, start=0):
    """Copies of a file with one bit turned, and the untouched file's bytes."""
    content = path.read_bytes()
    draws = np.random.default_rng(7)
    for place in draws.integers(8 * start, 8 * len(content), number).tolist():
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def noise(shape=(16, 16, 16)):
    return np.random.default_rng(3).integers(0, 1000, shape).astype(np.int16)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("level", [0, 9])
def test_a_single_flipped_bit_in_a_compressed_file_never_changes_the_grid(tmp_path, name, level):
    path = tmp_path / name
    plain = tmp_path / ("plain.nii" if name == "a.nii.gz" else "plain.nrrd")
    image = SimpleITK.GetImageFromArray(noise())
    SimpleITK.WriteImage(image, str(plain))
    content = plain.read_bytes()
    if name == "a.nii.gz":
        path.write_bytes(gzip.compress(content, level, mtime=0))
        start = 0
    else:
        header, _, body = content.partition(b"\n\n")
        header = header.replace(b"encoding: raw", b"encoding: gzip") + b"\n\n"
        path.write_bytes(header + gzip.compress(body, level, mtime=0))
        start = len(header)
    whole = grid(path, (16, 16, 16))
    refused = 0
    for content in flipped_bits(path, 100, start):
        path.write_bytes(content)
        try:
            found = grid(path, (16, 16, 16))
        except BenchError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - harmless bits of the header may turn
            assert str(path) in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(found, whole)
    assert refused > 90


def test_zeroed_bytes_of_stored_blocks_and_lost_ends_are_refused(tmp_path):
    """Nothing in a stored block tells that it is damaged but the checksum at the stream's end."""
    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(noise(), np.eye(4)).to_filename(tmp_path / "a.nii")
    content = gzip.compress((tmp_path / "a.nii").read_bytes(), 0, mtime=0)
    for damaged in (
        content[:3000] + bytes(2000) + content[5000:],
        content[:-8],
        content[:-4] + bytes(4),
        content[:-8] + bytes(4) + content[-4:],
    ):
        path.write_bytes(damaged)
        assert "cannot read volume" in refusal(path)
    path.write_bytes(content)
    grid(path)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000), ("meter", 0.001), ("mm", 1)])
def test_nifti_units_of_space_are_heeded(tmp_path, unit, factor):
    values, affine = scene((2, 1, 1.5))
    plain = grid(write_nifti(tmp_path / "plain.nii", values, affine))
    image = nibabel.Nifti1Image(values, np.diag([factor, factor, factor, 1]) @ affine)
    image.header.set_xyzt_units(unit, "sec")
    image.to_filename(tmp_path / "a.nii")
    assert reading.header(tmp_path / "a.nii").extent == pytest.approx((24, 24, 24), rel=1e-5)
    np.testing.assert_allclose(grid(tmp_path / "a.nii").astype(int), plain, atol=1)


@pytest.mark.parametrize(
    ("line", "factor"),
    [
        ('space units: "mm" "mm" "mm"', 1),
        ('space units: "" "" ""', 1),
        ('space units: "um" "um" "um"', 1000),
        ('space units: "µm" "µm" "µm"', 1000),
        ('space units: "microns" "Micrometers" "micron"', 1000),
        ('space units: "m" "meter" "metres"', 0.001),
        ('space units: "cm" "cm" "cm"', 0.1),
        ('space units: "nm" "nm" "nm"', 1e6),
        ("note:=space units: um", 1),
    ],
)
def test_nrrd_units_of_space_are_heeded(tmp_path, line, factor):
    path = tmp_path / "a.nrrd"
    image = SimpleITK.GetImageFromArray(noise((6, 5, 4)))
    image.SetSpacing([2.0 * factor, 3.0 * factor, 4.0 * factor])
    image.SetOrigin([10.0 * factor] * 3)
    SimpleITK.WriteImage(image, str(path))
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b"\n" + line.encode() + b"\n\n" + body)
    found = reading.header(path)
    assert found.extent == pytest.approx((24, 15, 8))
    np.testing.assert_allclose(found.affine[:3, 3], [-10, -10, 10])


def test_units_of_axes_without_directions_are_heeded(tmp_path):
    head = (
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 6\nspacings: 2000 3 4000\n"
        'units: "um" "mm" "µm"\nencoding: raw\n\n'
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + noise((4, 5, 6)).astype(np.uint8).tobytes())
    assert reading.header(tmp_path / "a.nrrd").extent == pytest.approx((24, 15, 8))


def test_an_unknown_unit_is_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise()), str(path))
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b'\nspace units: "furlong" "mm" "mm"\n\n' + body)
    assert "states its spacing in 'furlong', which is not known. Write it in mm" in refusal(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("qform", [0, 1])
@pytest.mark.parametrize("step", [0, np.nan])
def test_a_step_of_0_is_refused_unless_an_sform_says_it(tmp_path, suffix, qform, step):
    image = nibabel.Nifti1Image(noise(), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(np.eye(4), qform)
    image.to_filename(tmp_path / "plain.nii")
    content = bytearray((tmp_path / "plain.nii").read_bytes())
    content[84:88] = np.float32(step).tobytes()  # pixdim[2]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(BenchError, match="does not say its spacing: pixdim is") as caught:
        reading.header(path)
    assert str(path) in str(caught.value)
    content[254:256] = np.int16(1).tobytes()  # sform_code
    for row, place in enumerate((280, 296, 312)):
        content[place + 4 * row : place + 4 * row + 4] = np.float32(2).tobytes()
    (tmp_path / "b.nii").write_bytes(content)
    assert reading.header(tmp_path / "b.nii").extent == (32, 32, 32)


def offset_by(base, dtype):
    return noise((8, 8, 8)).astype(dtype) + np.asarray(base, dtype)


@pytest.mark.parametrize(
    ("base", "dtype"),
    [
        (2**31 - 500, np.int64),
        (-(2**40), np.int64),
        (2**63, np.uint64),
        (-(2**63), np.int64),
        (2**31 - 2000, np.int32),
        (2**31, np.float64),
    ],
)
def test_large_integers_keep_their_differences(tmp_path, base, dtype):
    np.save(tmp_path / "small.npy", noise((8, 8, 8)))
    wanted = grid(tmp_path / "small.npy", (8, 8, 8))
    np.save(tmp_path / "a.npy", offset_by(base, dtype))
    np.testing.assert_allclose(grid(tmp_path / "a.npy", (8, 8, 8)).astype(int), wanted, atol=1)
    if np.dtype(dtype).itemsize == 8:
        image = nibabel.Nifti1Image(offset_by(base, dtype), np.eye(4), dtype=dtype)
        image.to_filename(tmp_path / "a.nii.gz")
        values = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
        np.save(tmp_path / "b.npy", values.transpose(2, 1, 0))
        np.testing.assert_array_equal(
            grid(tmp_path / "a.nii.gz", (8, 8, 8)), grid(tmp_path / "b.npy", (8, 8, 8))
        )


def test_a_ct_window_far_from_0_keeps_its_grey_levels(tmp_path):
    np.save(tmp_path / "small.npy", noise((8, 8, 8)))
    np.save(tmp_path / "a.npy", offset_by(2**31, np.int64))
    near = grid(tmp_path / "small.npy", (8, 8, 8), window=Window.parse("ct:500,400"))
    far = Window(kind="ct", low=2**31 + 300, high=2**31 + 700)
    np.testing.assert_array_equal(grid(tmp_path / "a.npy", (8, 8, 8), window=far), near)


def test_a_distant_sentinel_does_not_cost_the_others_their_grey_levels(tmp_path):
    values = noise((8, 8, 8)).astype(np.int64)
    np.save(tmp_path / "small.npy", values)
    values[0, 0, 0] = -(2**31)
    np.save(tmp_path / "a.npy", values)
    window = Window.parse("ct:500,400")
    found = grid(tmp_path / "a.npy", (8, 8, 8), window=window)
    wanted = grid(tmp_path / "small.npy", (8, 8, 8), window=window)
    np.testing.assert_array_equal(found.ravel()[1:], wanted.ravel()[1:])


@pytest.mark.parametrize("step", [1.0, 0.7, 1.3, 0.1])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_both_outer_faces_are_filled_alike(tmp_path, step, orientation):
    """A grid of odd excess has samples on both faces of the volume."""
    values = np.full((8, 8, 8), 100, np.float32)
    values[0, 0, 0] = 0
    path = write_nifti(tmp_path / "a.nii", values, np.diag([step, step, step, 1]), orientation)
    found = grid(path, (11, 11, 11), (step,) * 3)
    for axis in range(3):
        line = np.moveaxis(found, axis, 0)[:, 5, 5]
        np.testing.assert_array_equal(line, [0] + 9 * [255] + [0])
    np.testing.assert_array_equal(grid(path, (10, 10, 10), (step,) * 3)[0], 0)


def test_marks_tell_which_volumes_an_earlier_version_misread(tmp_path):
    def marks(path, size=(8, 8, 8), spacing=(1, 1, 1)):
        return made(path, size, spacing).marks

    path = write_nifti(tmp_path / "a.nii", *scene((3, 3, 3)))
    assert marks(path, spacing=(3, 3, 3)) == ()
    assert marks(path, size=(11, 11, 11), spacing=(3, 3, 3)) == ("voxels",)
    assert marks(path, size=(12, 12, 12), spacing=(3, 3, 3)) == ()
    np.save(tmp_path / "a.npy", offset_by(2**31, np.int64))
    assert marks(tmp_path / "a.npy") == ("voxels",)
    np.save(tmp_path / "b.npy", offset_by(2**20, np.int64))
    assert marks(tmp_path / "b.npy") == ()


def test_content_is_the_same_in_any_format_type_and_orientation(tmp_path):
    values, affine = scene((1, 1, 1))
    values = np.rint(values)
    paths = [
        write_nifti(tmp_path / "a.nii", values, affine),
        write_nifti(tmp_path / "a.nii.gz", values, affine, "LPS"),
        write_nifti(tmp_path / "b.nii", values.astype(np.int16), affine, "SPR"),
        tmp_path / "a.nrrd",
        tmp_path / "a.npy",
    ]
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(paths[0])), str(paths[3]))
    np.save(paths[4], values.transpose(2, 1, 0).astype(np.float64))
    found = {made(path, spacing=(3, 3, 3)).content for path in paths}
    assert len(found) == 1
