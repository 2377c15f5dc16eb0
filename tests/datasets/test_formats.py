"""Every format a volume comes in gives the same grid; damage and other content is one line."""

import locale

import nibabel
import numpy as np
import pytest
import SimpleITK

from benchharness.datasets import formats, reading
from benchharness.datasets.preparation import Preparation, Window
from benchharness.errors import BenchError
from tests.dicom_data import write_series
from tests.own_data import scene, write_nifti

ALL = Window(kind="percentiles", low=0, high=100)
STEPS = (2.0, 1.5, 1.0)


def grid(*paths, size=(12, 12, 12), spacing=(2.0, 2.0, 2.0), window=ALL, bits=8, channels=None):
    chosen = Preparation(size=size, window=window, bits=bits)
    return reading.make(paths, chosen, spacing, channels).volume


def refusal(*paths, **options) -> str:
    with pytest.raises(BenchError) as caught:
        grid(*paths, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert any(str(path) in message for path in paths)
    return message


def asymmetric():
    """A ball off every plane of symmetry, in whole numbers, and its affine."""
    values, affine = scene(STEPS, (5, -4, 3))
    return np.rint(values).astype(np.int16), affine


def through_itk(suffix, compressed):
    def write(folder, nifti):
        path = folder / f"a{suffix}"
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(nifti)), str(path), compressed)
        return path

    return write


def pair(folder, nifti):
    image = nibabel.load(nifti)
    found = nibabel.Nifti1Pair(np.asanyarray(image.dataobj), image.affine)
    found.to_filename(folder / "a.img")
    return folder / "a.hdr"


def series(folder, nifti, **options):
    image = nibabel.load(nifti)
    return write_series(folder / "series", np.asanyarray(image.dataobj), image.affine, **options)


def rescaled(folder, nifti):
    return series(folder, nifti, tags={"0028|1052": "-1024", "0028|1053": "1"})


def shuffled(folder, nifti):
    return series(folder, nifti, order=lambda index: index * 7 % 24)


WRITERS = {
    "nii": lambda folder, nifti: nifti,
    "pair": pair,
    "nrrd": through_itk(".nrrd", False),
    "nrrd gzip": through_itk(".nrrd", True),
    "nhdr": through_itk(".nhdr", False),
    "nhdr gzip": through_itk(".nhdr", True),
    "mha": through_itk(".mha", False),
    "mha zlib": through_itk(".mha", True),
    "mhd": through_itk(".mhd", False),
    "mhd zlib": through_itk(".mhd", True),
    "dicom": series,
    "dicom rescaled": rescaled,
    "dicom shuffled": shuffled,
}


@pytest.mark.parametrize("orientation", ["LPS", "AIL"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_grid_in_every_orientation(tmp_path, name, orientation):
    values, affine = asymmetric()
    wanted = grid(write_nifti(tmp_path / "ras.nii", values, affine))
    stored = write_nifti(tmp_path / "a.nii", values, affine, orientation)
    path = WRITERS[name](tmp_path, stored)
    assert reading.header(path).extent == pytest.approx((24, 24, 24))
    found = grid(path)
    np.testing.assert_array_equal(found, wanted)
    peak = np.unravel_index(found[0].argmax(), found.shape[1:])
    # 3 mm up, 4 mm back and 5 mm to the right of a centre at 5.5, in steps of 2 mm.
    assert tuple(map(int, peak)) in {(7, 3, 8), (7, 4, 8), (6, 3, 8), (7, 3, 7), (7, 4, 7)}


def test_slope_and_intercept_are_heeded(tmp_path):
    values, affine = asymmetric()
    values = values // 2 * 2
    tags = {"0028|1052": "-1000", "0028|1053": "2"}
    folder = write_series(tmp_path / "a", values, affine, tags=tags)
    _, found = formats.read(folder, "float32")
    np.testing.assert_array_equal(found, values)
    plain = formats.read(write_series(tmp_path / "b", values, affine), "float32")[1]
    np.testing.assert_array_equal(plain, values)


def test_every_file_of_a_volume_is_among_its_files(tmp_path):
    values, affine = asymmetric()
    stored = write_nifti(tmp_path / "a.nii", values, affine)
    assert [p.name for p in formats.files(pair(tmp_path, stored))] == ["a.hdr", "a.img"]
    assert [p.name for p in formats.files(tmp_path / "a.img")] == ["a.hdr", "a.img"]
    path = through_itk(".nhdr", True)(tmp_path, stored)
    assert [p.name for p in formats.files(path)] == ["a.nhdr", "a.raw.gz"]
    path = through_itk(".mhd", True)(tmp_path, stored)
    assert [p.name for p in formats.files(path)] == ["a.mhd", "a.zraw"]
    (series(tmp_path, stored) / "DICOMDIR").touch()
    assert len(formats.files(tmp_path / "series")) == values.shape[2]


def cut_end(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip_middle(path):
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_end, flip_middle])
@pytest.mark.parametrize("name", ["mha zlib", "mhd zlib", "nhdr gzip"])
def test_damaged_compressed_voxels_are_refused(tmp_path, name, damage):
    path = WRITERS[name](tmp_path, write_nifti(tmp_path / "a.nii", *asymmetric()))
    damage(formats.files(path)[-1])
    assert "cannot read volume" in refusal(path)


@pytest.mark.parametrize("name", ["pair", "nhdr", "mha", "mhd", "dicom"])
def test_lost_ends_are_refused(tmp_path, name):
    path = WRITERS[name](tmp_path, write_nifti(tmp_path / "a.nii", *asymmetric()))
    cut_end(formats.files(path)[-1])
    assert "cannot read" in refusal(path)


@pytest.mark.parametrize("name", ["pair", "nrrd", "nhdr", "mha", "mhd"])
def test_nan_is_refused(tmp_path, name):
    values, affine = scene(STEPS)
    values[2, 3, 4] = np.nan
    if name == "pair":
        path = pair(tmp_path, write_nifti(tmp_path / "a.nii", values, affine))
    else:
        path = tmp_path / f"a.{name}"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    assert "holds NaN or infinity" in refusal(path)


def test_an_analyze_header_does_not_say_which_side_is_left(tmp_path):
    image = nibabel.Spm99AnalyzeImage(asymmetric()[0], np.eye(4))
    image.to_filename(tmp_path / "a.img")
    assert "is an ANALYZE header, which does not say which side is left" in refusal(
        tmp_path / "a.hdr"
    )


def test_colours_are_refused(tmp_path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.Nifti1Image(np.zeros((4, 5, 6), kind), np.eye(4)).to_filename(tmp_path / "a.nii")
    assert "is in colour (R, G, B); expected one grey value a voxel" in refusal(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ElementDataFile = LIST", "keeps its voxels in several files (LIST)"),
        ("ElementDataFile = a%03d.raw", "keeps its voxels in several files"),
        ("ElementDataFile = ../a.raw", "in another folder. Put the two files side by side"),
        ("ElementDataFile =", "it has no line ElementDataFile"),
        ("", "it has no line ElementDataFile"),
        ("ElementDataFile = none.raw", "No such file"),
    ],
)
def test_voxels_elsewhere_are_refused(tmp_path, line, message):
    path = WRITERS["mhd"](tmp_path, write_nifti(tmp_path / "a.nii", *asymmetric()))
    path.write_text(path.read_text(encoding="utf-8").replace("ElementDataFile = a.raw", line))
    assert message in refusal(path)


def test_a_metaimage_without_a_spacing_is_refused(tmp_path):
    path = WRITERS["mhd"](tmp_path, write_nifti(tmp_path / "a.nii", *asymmetric()))
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if "Spacing" not in line
    ]
    path.write_text("\n".join(lines) + "\n")
    assert "it does not say its spacing" in refusal(path)


def remove(*numbers):
    def harm(folder):
        for path in sorted(folder.iterdir()):
            if int(path.stem[-3:]) in numbers:
                path.unlink()

    return harm


def retag(values, affine=None, **options):
    """Write the slices again beside the first ones."""

    def harm(folder):
        own, where = asymmetric()
        write_series(folder, own[:, :, values], where if affine is None else affine, **options)

    return harm


def beside(content):
    def harm(folder):
        (folder / "1.2.3.4-zz").write_bytes(content)

    return harm


def shifted(millimetres):
    affine = asymmetric()[1].copy()
    affine[:3, 3] += np.asarray(millimetres)
    return affine


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove(7), "1.2.3.4-006.dcm and 1.2.3.4-008.dcm are 2 mm apart and most slices 1 mm: "),
        (remove(*range(24)), "holds no DICOM files"),
        (beside(b"hello"), "1.2.3.4-zz as a DICOM image. A folder of slices holds nothing"),
        (
            retag(slice(0, 3), series="1.9", tags={"0008|103e": "T2 sag"}),
            "holds 2 series: '1.2.3.4' (24 files, such as 1.2.3.4-000.dcm), 'T2 sag' (3 files, ",
        ),
        (retag(slice(0, 4), asymmetric()[1] * 2), "differ in size, spacing or orientation"),
        (
            retag(slice(0, 4), order=lambda index: index + 50),
            "1.2.3.4-000.dcm and 1.2.3.4-050.dcm lie at one place. Give each time point or echo",
        ),
        (
            retag(slice(3, 4), shifted([0, 0, 3.3]), order=lambda _: 3),
            "are 1.3 mm apart and most slices 1 mm: they lie unevenly",
        ),
        (
            retag(slice(3, 4), shifted([4, 0, 3]), order=lambda _: 3),
            "1.2.3.4-003.dcm lies 4 mm beside the line of the other slices",
        ),
        (
            retag(slice(0, 24), tags={"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}),
            "1.2.3.4-000.dcm is a localizer",
        ),
        (
            retag(slice(0, 24), tags={"0008|0016": "1.2.840.10008.5.1.4.1.1.7"}),
            "is a secondary capture, a picture of a screen",
        ),
    ],
)
def test_what_is_no_single_even_series_is_refused(tmp_path, harm, message):
    folder = write_series(tmp_path / "a", *asymmetric())
    harm(folder)
    assert message in refusal(folder)


def test_slices_that_do_not_say_where_they_lie_are_refused(tmp_path):
    folder = write_series(tmp_path / "a", *asymmetric())
    for path in folder.iterdir():  # as another tag, since SimpleITK always writes a position
        content = path.read_bytes()
        assert b"\x20\x00\x32\x00" in content
        path.write_bytes(content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x33\x00"))
    assert "does not say where its slice lies: Image Position (Patient) is" in refusal(folder)


def test_colours_and_several_frames_in_a_slice_are_refused(tmp_path):
    values, _ = asymmetric()
    for name, array in {
        "colour": np.zeros((8, 8, 3), np.uint8),
        "frames": values.astype(np.uint16),
    }.items():
        (tmp_path / name).mkdir()
        image = SimpleITK.GetImageFromArray(array, isVector=name == "colour")
        SimpleITK.WriteImage(image, str(tmp_path / name / "0.dcm"))
    # SimpleITK writes both as secondary captures: the class is what is said first.
    for name in ("colour", "frames"):
        assert "is a secondary capture" in refusal(tmp_path / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats.dicom, "_CAPTURES", "none")
        assert "is in colour" in refusal(tmp_path / "colour")
        assert "holds several frames in one file" in refusal(tmp_path / "frames")


def test_a_tilted_gantry_is_put_upright(tmp_path):
    """Slices shifted along y by 0.6 of their distance show what upright slices show."""
    values, affine = scene((1, 1, 2), (4, -3, 5))
    wanted = grid(write_nifti(tmp_path / "a.nii", np.rint(values), affine)).astype(int)
    tilted = affine.copy()
    tilted[1, 2] = 1.2
    tilted[1, 3] -= 1.2 * (values.shape[2] - 1) / 2
    world = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)
    world = world @ tilted[:3, :3].T + tilted[:3, 3]
    distance = np.square(world - np.asarray([4, -3, 5])).sum(axis=-1)
    sheared = np.rint(100 + 300 * np.exp(-distance / 40)).astype(np.int16)
    folder = write_series(tmp_path / "tilted", sheared, tilted)
    assert reading.header(folder).extent == pytest.approx((24, 24 + 12 * 1.2, 24))
    found = grid(folder).astype(int)
    inside = np.s_[:, 1:-1, 4:-4, 1:-1]
    off = np.abs(found - wanted)[inside]
    assert off.max() <= 12
    assert off.mean() < 2
    left_shifted = formats.read(write_series(tmp_path / "b", sheared, affine), "float32")[1]
    assert np.abs(left_shifted - values).max() > 100  # the shift is no small thing


def test_16_bits_keep_what_8_round_away(tmp_path):
    values, affine = scene((1, 1, 1))
    path = write_nifti(tmp_path / "a.nii", values, affine)
    size = {"size": (24, 24, 24), "spacing": (1.0, 1.0, 1.0)}
    fine, coarse = grid(path, bits=16, **size), grid(path, bits=8, **size)
    assert (fine.dtype, coarse.dtype) == (np.uint16, np.uint8)
    np.testing.assert_allclose(fine / 65535, coarse / 255, atol=0.5 / 255 + 1e-5)
    assert len(np.unique(fine)) > 2 * len(np.unique(coarse))


def four_axes(path, volumes, affine, **header):
    image = nibabel.Nifti1Image(np.stack(volumes, axis=-1), affine)
    for key, value in header.items():
        image.header[key] = value
    image.to_filename(path)
    return path


def test_channels_of_a_file_are_those_of_single_volumes(tmp_path):
    values, affine = asymmetric()
    other = np.asarray(values[::-1].copy())
    single = [
        grid(write_nifti(tmp_path / f"{n}.nii", one, affine))[0]
        for n, one in enumerate((values, other))
    ]
    path = four_axes(tmp_path / "a.nii.gz", (values, other), affine)
    np.testing.assert_array_equal(grid(path, channels=2), single)
    vector = four_axes(tmp_path / "v.nii", (values[..., None], other[..., None]), affine)
    np.testing.assert_array_equal(grid(vector, channels=2), single)
    image = SimpleITK.Compose(*(SimpleITK.ReadImage(str(tmp_path / f"{n}.nii")) for n in (0, 1)))
    for suffix in (".nrrd", ".mha"):
        SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(grid(tmp_path / f"a{suffix}", channels=2), single)
    for name, axis in (("first", 0), ("last", -1)):
        arrays = [one.transpose(2, 1, 0) for one in (values, other)]
        np.save(tmp_path / f"{name}.npy", np.stack(arrays, axis=axis))
        found = grid(tmp_path / f"{name}.npy", channels=2)
        np.save(tmp_path / "one.npy", arrays[1])
        np.testing.assert_array_equal(found[1], grid(tmp_path / "one.npy")[0])


def test_a_fourth_axis_is_refused_with_what_to_type(tmp_path):
    values, affine = asymmetric()
    path = four_axes(tmp_path / "a.nii", [values] * 4, affine)
    said = refusal(path)
    assert "has shape (12, 16, 24, 4); expected one volume of three axes" in said
    assert "If the 4 along its fourth axis are sequences of one examination, type --channels 4" in (
        said
    )
    assert "--channels says 3" in refusal(path, channels=3)
    timed = four_axes(tmp_path / "t.nii", [values] * 4, affine, xyzt_units=10)
    assert "If they are time points, as its header says (one every 1 s): save one" in refusal(timed)
    many = four_axes(tmp_path / "m.nii", [values] * 40, affine, xyzt_units=10)
    assert "It holds 40 time points, one every 1 s. Save one of them, or their mean" in refusal(
        many
    )
    plain = write_nifti(tmp_path / "p.nii", values, affine)
    assert "one volume, but --channels says 2" in refusal(plain, channels=2)
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 5, 2)))
    assert "the first or the last axis may hold 2 channels" in refusal(
        tmp_path / "a.npy", channels=2
    )


@pytest.mark.parametrize("orientation", ["LPS", "SPR"])
@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_sequences_come_to_lie_where_the_first_one_is(tmp_path, orientation, spacing):
    """The second sequence has another spacing, orientation and field of view."""
    values, affine = asymmetric()
    first = write_nifti(tmp_path / "t1.nii", values, affine)
    moved, place = scene((spacing, 1, 1), (5, -4, 3))
    grown = np.pad(moved, ((0, 4), (2, 0), (0, 6)), mode="edge")
    place[:3, 3] -= place[:3, :3] @ np.asarray([0, 2, 0])
    second = write_nifti(tmp_path / "t2.nii.gz", grown, place, orientation)
    window = Window(kind="range", low=100, high=400)
    found = grid(first, second, window=window).astype(int)
    assert found.shape == (2, 12, 12, 12)
    np.testing.assert_array_equal(found[0], grid(first, window=window)[0])
    off = np.abs(found[0] - found[1])
    assert off.mean() < 4
    assert off.max() < 60
    shifted_place = place.copy()
    shifted_place[2, 3] += 12
    write_nifti(second, grown, shifted_place, orientation)
    above = grid(first, second, window=window)[1]
    assert (above[:4] == 0).all()  # black where the second one ends
    assert np.abs(above.astype(int) - found[1]).max() > 100


def test_an_oblique_sequence_is_turned_onto_the_first(tmp_path):
    values, affine = scene((1, 1, 1), (5, -4, 3))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    oblique = turn @ affine
    world = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)
    world = world @ oblique[:3, :3].T + oblique[:3, 3]
    distance = np.square(world - np.asarray([5, -4, 3])).sum(axis=-1)
    turned = (100 + 300 * np.exp(-distance / 40)).astype(np.float32)
    first = write_nifti(tmp_path / "a.nii", values, affine)
    second = write_nifti(tmp_path / "b.nii", turned, oblique)
    window = Window(kind="range", low=100, high=400)
    found = grid(first, second, window=window).astype(int)[:, 2:-2, 2:-2, 2:-2]
    assert np.abs(found[0] - found[1]).max() < 12


def test_unrelated_channels_are_refused(tmp_path):
    values, affine = asymmetric()
    first = write_nifti(tmp_path / "a.nii", values, affine)
    np.save(tmp_path / "b.npy", values)
    assert "only one of them says where it lies" in refusal(first, tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", values[1:])
    assert "arrays without a spacing must agree" in refusal(tmp_path / "b.npy", tmp_path / "c.npy")
    far = affine.copy()
    far[:3, 3] += 500
    away = write_nifti(tmp_path / "d.nii", values, far)
    assert "d.nii is 0 everywhere on a grid" in refusal(first, away)


def test_reading_leaves_the_locale_as_it_was(tmp_path):
    before = locale.setlocale(locale.LC_ALL)
    folder = write_series(tmp_path / "a", *asymmetric())
    locale.setlocale(locale.LC_ALL, before)
    formats.files(folder)
    formats.read(folder, "float32")
    assert locale.setlocale(locale.LC_ALL) == before
