"""The phantom's renderings: the same scenes, by the physics of three scanners."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness import datasets
from benchharness.datasets import phantom, renderings
from benchharness.datasets.base import Dataset
from benchharness.randomness import numpy_generator

if TYPE_CHECKING:
    from benchharness.datasets.renderings import Rendering

    Made = tuple[np.ndarray[Any, Any], ...]

KINDS: tuple[Rendering, ...] = ("ct", "mr", "xray")
FEW = 16
# SHA-256 of the first volumes of the test split, one after another.
GOLDEN = {
    "ct": "cffe4ff09d1e1006802d441c665528806edbde4c13dd0a4d8016348b3fe14cf8",
    "mr": "04711d304d8116a99bf39d6b172349a7f26c62a0c94b2d6b3dece26740c9ca9c",
    "xray": "1736074230cd623e6ee8a44b1b2ff85af352b83133c0b45d96b710cb90b18379",
}
DIGESTS = {
    "ct": "sha256:747848475a01fedf6958978fcd32e9eb440f35ca8906dc45b8b3938ca4a3ee68",
    "mr": "sha256:d0300d0ad98347751a33c3b5afc446d0cd0d1f87a50e9a9ed764f3e1bdd1b9fb",
    "xray": "sha256:aa0b8812765aff61e80171d3b773709ac897a8077b6bd4441433e70b9a804f2f",
}


@pytest.fixture(scope="module")
def made() -> dict[str, list[Made]]:
    return {
        kind: [renderings.render(kind, "test", index, 28) for index in range(FEW)] for kind in KINDS
    }


def draws() -> np.random.Generator:
    return numpy_generator("test of renderings")


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_is_fixed(made: dict[str, list[Made]], kind: str) -> None:
    content = b"".join(image.tobytes() for image, _ in made[kind])
    assert hashlib.sha256(content).hexdigest() == GOLDEN[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_data_sets_are_fixed_and_hold_the_phantoms_scenes(kind: str) -> None:
    found, own = datasets.load(f"phantom3d_{kind}"), datasets.load("phantom3d")
    assert found.digest == DIGESTS[kind]
    for name in datasets.SPLITS:
        split, scenes = getattr(found, name), getattr(own, name)
        suffixes = [text.partition("/")[2] for text in split.ids]
        assert suffixes == [text.partition("/")[2] for text in scenes.ids]
        np.testing.assert_array_equal(split.labels, scenes.labels)
        masks = scenes.masks.any(axis=1, keepdims=True) if kind == "xray" else scenes.masks
        np.testing.assert_array_equal(split.masks, masks)


def test_the_data_sets_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "SPLIT_SIZES", {"train": 4, "val": 4, "test": 4})
    own = datasets.load("phantom3d")
    found = {kind: datasets.load(f"phantom3d_{kind}") for kind in KINDS}
    assert [found[kind].modality for kind in KINDS] == ["ct", "mri", "x-ray"]
    assert [found[kind].grid for kind in KINDS] == [(28, 28, 28), (28, 28, 28), (1, 28, 28)]
    assert found["mr"].test.spacing == found["ct"].test.spacing == (2.0, 2.0, 2.0)
    assert found["mr"].test.ids[3] == "phantom3d_mr/test/3"
    for dataset in found.values():
        assert isinstance(dataset, Dataset)
        assert dataset.classes == own.classes
        assert dataset.label_space == own.label_space == "phantom3d"
    assert len({dataset.digest for dataset in [own, *found.values()]}) == 4


def test_the_scenes_are_the_phantoms(made: dict[str, list[Made]]) -> None:
    for index in range(FEW):
        _, mask = phantom._render("test", index, 28, structure=True)
        for kind in ("ct", "mr"):
            np.testing.assert_array_equal(made[kind][index][1], mask)
        np.testing.assert_array_equal(made["xray"][index][1][0], mask.any(axis=0))


def test_intensities_fill_the_range_and_little_is_clipped(made: dict[str, list[Made]]) -> None:
    for kind, volumes in made.items():
        values = np.concatenate([image.ravel() for image, _ in volumes])
        assert values.dtype == np.uint8
        assert np.mean((values == 0) | (values == 255)) < 0.04, kind
        assert np.percentile(values, 99.5) - np.percentile(values, 0.5) > 80, kind


def test_mineral_is_bright_in_ct_and_radiographs_and_dark_in_mr(
    made: dict[str, list[Made]],
) -> None:
    for kind, sign in {"ct": 1, "xray": 1, "mr": -1}.items():
        for image, mask in made[kind]:
            assert sign * (image[mask].mean() - image[~mask].mean()) > 8, kind


def test_muscle_is_brighter_than_fat_in_ct_and_darker_in_mr(made: dict[str, list[Made]]) -> None:
    for index in range(FEW):
        scene = phantom.anatomy("test", index, 28)
        for kind, sign in {"ct": 1, "mr": -1}.items():
            image, mask = made[kind][index]
            outside = ~mask & (scene.structure == 0)
            tied = np.corrcoef(image[outside], scene.tissue[outside])[0, 1]
            assert sign * tied > 0.04, (kind, index)


def test_shares_of_materials_add_up_and_hounsfield_units_are_defined_by_water() -> None:
    scene = phantom.anatomy("test", 0, 28)
    parts = renderings.mixture(scene.tissue, scene.structure)
    np.testing.assert_allclose(parts.fat + parts.muscle + parts.mineral, 1)
    assert min(parts.fat.min(), parts.muscle.min(), parts.mineral.min()) >= 0
    points = np.array([0.0, renderings.WATER, renderings.FAT, renderings.MUSCLE, renderings.BONE])
    air, water, fat, muscle, bone = renderings.hounsfield(points)
    assert (air, water) == (-1000, 0)
    assert -120 < fat < -70
    assert 30 < muscle < 60
    assert bone > 1000


def test_transmission_is_that_of_beer_and_lambert() -> None:
    slab = np.full((28, 3, 4), renderings.WATER)
    np.testing.assert_allclose(
        renderings.transmitted(slab, 0.2), np.full((1, 3, 4), math.exp(-0.2059 * 5.6))
    )
    slab[10:20, 1, 2] = renderings.BONE
    shadow = renderings.transmitted(slab, 0.2) / math.exp(-0.2059 * 5.6)
    assert shadow[0, 1, 2] == pytest.approx(math.exp(-(renderings.BONE - renderings.WATER) * 2))
    assert np.delete(shadow.ravel(), 6) == pytest.approx(1)


def test_photons_have_the_variance_of_their_mean() -> None:
    found = renderings.counts(np.full(200_000, 400.0), draws())
    assert found.mean() == pytest.approx(400, abs=0.2)
    assert found.var() == pytest.approx(400, rel=0.02)


def test_the_last_bits_of_an_expectation_decide_nothing() -> None:
    class Exact:
        """Draws the expectation itself."""

        def poisson(self, expected: Any) -> Any:
            return expected

    expected = draws().uniform(100, 900, 5000)
    seen = [renderings.counts(e, Exact()) for e in (expected, np.nextafter(expected, 1e9))]
    np.testing.assert_array_equal(*seen)
    np.testing.assert_allclose(seen[0], expected, atol=1 / 2048)


def test_rician_noise_has_its_moments() -> None:
    nothing = renderings.rician(np.zeros(200_000), 2.0, draws())
    assert nothing.mean() == pytest.approx(2 * math.sqrt(math.pi / 2), rel=0.01)
    assert nothing.var() == pytest.approx((2 - math.pi / 2) * 4, rel=0.02)
    strong = renderings.rician(np.full(200_000, 100.0), 2.0, draws())
    assert (strong**2).mean() == pytest.approx(100**2 + 2 * 4, rel=1e-3)
    assert strong.std() == pytest.approx(2, rel=0.01)


def test_a_spoiled_echo_is_largest_at_the_ernst_angle() -> None:
    t1, repetition = 288.0, 180.0
    ernst = math.acos(math.exp(-repetition / t1))
    angles = np.linspace(0.05, math.pi / 2, 400)
    signals = [renderings.spoiled_echo(t1, 165.0, repetition, angle, 8.0) for angle in angles]
    assert angles[int(np.argmax(signals))] == pytest.approx(ernst, abs=0.01)
    rested = renderings.spoiled_echo(t1, 165.0, 1e6, math.pi / 2, 8.0)
    assert rested == pytest.approx(math.exp(-8 / 165))


def test_ct_noise_has_unit_deviation_and_the_spectrum_of_a_reconstruction() -> None:
    noise = renderings.correlated(draws(), 64)
    assert noise.std() == pytest.approx(1, abs=0.02)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    low, middle, high = (
        power[(radius > a) & (radius < b)].mean() for a, b in ((0, 0.05), (0.15, 0.25), (0.45, 0.6))
    )
    assert middle > 3 * low
    assert middle > 5 * high
    flat = noise.reshape(64, -1)
    assert abs(np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]) < 0.02
