"""Resizing and normalising, as configured and as part of an identity, with true gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensity
from torch import Tensor

from benchharness.errors import BenchError, CellError
from benchharness.networks.building import build_network
from benchharness.networks.preprocessing import Preprocessing
from benchharness.store.cells import ModelKey


def volumes(count: int = 5, channels: int = 1, size: int = 8) -> Tensor:
    shape = (count, channels, size, size, size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def brain(count: int = 2, channels: int = 2) -> Tensor:
    """Volumes whose background is exactly zero."""
    made = volumes(count, channels)
    made[:, :, :3] = 0
    return made


def inverted(given: Tensor) -> Tensor:
    return 1 - given


def fewer(given: Tensor) -> Tensor:
    return given[1:]


def no_tensor(given: Tensor) -> Any:
    return given.numpy()


A_NUMBER = 3

SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "size": {"size": (4, 16, 6)},
    "size, area": {"size": (4, 3, 8), "resize": "area"},
    "scale, mean and std": {"scale": 0.5, "mean": 0.25, "std": 2.0},
    "mean and std a channel": {"mean": (0.25, 0.5), "std": (2.0, 0.1)},
    "clip": {"clip": (0.2, 0.7)},
    "percentiles": {"percentiles": (10.0, 85.0)},
    "percentiles of all channels": {"percentiles": (0.5, 99.5), "per": "volume"},
    "minmax": {"minmax": True},
    "zscore": {"zscore": "all"},
    "zscore of all channels": {"zscore": "all", "per": "volume"},
    "zscore of what is not zero": {"zscore": "nonzero"},
    "repeated channels": {"repeat_channels": 3, "mean": (0.1,) * 6, "std": (0.3,) * 6},
    "a function": {"callable": "tests.networks.test_preprocessing:inverted"},
    "everything": {
        "size": (6, 6, 6),
        "clip": (0.01, 0.9),
        "percentiles": (1.0, 99.0),
        "minmax": True,
        "zscore": "nonzero",
        "per": "volume",
        "scale": 2.0,
        "repeat_channels": 2,
        "mean": 0.1,
        "std": 0.5,
        "callable": "tests.networks.test_preprocessing:inverted",
    },
}

every = pytest.mark.parametrize(
    "made", [Preprocessing(**s) for s in SETTINGS.values()], ids=SETTINGS
)


def test_nothing_is_done_by_default() -> None:
    given = volumes()
    assert Preprocessing()(given) is given
    assert Preprocessing().to_pairs() == ()


def test_scale_then_mean_then_std() -> None:
    given = volumes()
    made = Preprocessing(scale=0.5, mean=0.25, std=2.0)(given)
    torch.testing.assert_close(made, (given * 0.5 - 0.25) / 2.0)
    assert made.data_ptr() != given.data_ptr()


def test_resizing_is_trilinear_and_keeps_constants_and_ramps() -> None:
    resize = Preprocessing(size=(4, 16, 8))
    made = resize(volumes())
    assert made.shape == (5, 1, 4, 16, 8)
    constant = torch.full((1, 1, 8, 8, 8), 0.3)
    torch.testing.assert_close(resize(constant), torch.full((1, 1, 4, 16, 8), 0.3))
    ramp = torch.arange(8.0).view(1, 1, 8, 1, 1).expand(1, 1, 8, 16, 8)
    halved = resize(ramp)[0, 0, :, 0, 0]
    torch.testing.assert_close(halved, torch.tensor([0.5, 2.5, 4.5, 6.5]))
    same = Preprocessing(size=(8, 8, 8))
    assert same(given := volumes()) is given


def test_resizing_by_area_takes_the_mean_of_what_a_voxel_covers() -> None:
    given = volumes()
    made = Preprocessing(size=(2, 8, 4), resize="area")(given)
    blocks = given.reshape(5, 1, 2, 4, 8, 1, 4, 2).mean((3, 5, 7))
    torch.testing.assert_close(made, blocks)


def test_percentiles_are_numpys() -> None:
    given = volumes(3, 2, 7)
    made = Preprocessing(percentiles=(2.5, 93.0))(given).numpy()
    for volume, clipped in zip(given.numpy().reshape(6, -1), made.reshape(6, -1), strict=True):
        low, high = np.percentile(volume, (2.5, 93.0))
        np.testing.assert_allclose(clipped, volume.clip(low, high), rtol=1e-6)
    whole = Preprocessing(percentiles=(2.5, 93.0), per="volume")(given).numpy()
    low, high = np.percentile(given[1].numpy(), (2.5, 93.0))
    np.testing.assert_allclose(whole[1], given[1].numpy().clip(low, high), rtol=1e-6)


def test_minmax_and_zscore_are_those_of_monai() -> None:
    given = brain()
    for ours, theirs in (
        ({"minmax": True}, ScaleIntensity(channel_wise=True)),
        ({"minmax": True, "per": "volume"}, ScaleIntensity()),
        ({"zscore": "all"}, NormalizeIntensity(channel_wise=True)),
        ({"zscore": "all", "per": "volume"}, NormalizeIntensity()),
        ({"zscore": "nonzero"}, NormalizeIntensity(nonzero=True, channel_wise=True)),
        ({"zscore": "nonzero", "per": "volume"}, NormalizeIntensity(nonzero=True)),
    ):
        expected = torch.stack([torch.as_tensor(theirs(volume)) for volume in given])
        torch.testing.assert_close(Preprocessing(**ours)(given), expected, rtol=1e-4, atol=1e-5)


def test_the_order_is_that_of_the_fields() -> None:
    given = brain()
    settings = SETTINGS["everything"]
    expected = given
    for name in Preprocessing.__dataclass_fields__:
        if name in settings and name != "per":
            alone = {name: settings[name]}
            if name in ("percentiles", "minmax", "zscore"):
                alone["per"] = settings["per"]
            expected = Preprocessing(**alone)(expected)
    # Of mean and std, the mean comes first, and neither changes what is in between.
    torch.testing.assert_close(Preprocessing(**settings)(given), expected)


@every
def test_gradients_are_those_of_finite_differences(made: Preprocessing) -> None:
    given = brain(1).double().requires_grad_()
    weights = torch.randn(made(given).shape, generator=torch.Generator().manual_seed(3)).double()

    def score(at: Tensor) -> Tensor:
        return (made(at) * weights).sum()

    (gradient,) = torch.autograd.grad(score(given), given)
    # A zero voxel is where `nonzero` jumps; all the others are smooth.
    inside = [(0, c, z, y, x) for c in (0, 1) for z, y, x in ((3, 0, 0), (4, 5, 6), (7, 7, 7))]
    for place in inside:
        step = torch.zeros_like(given)
        step[place] = 1e-6
        with torch.no_grad():
            slope = (score(given + step) - score(given - step)) / 2e-6
        assert float(gradient[place]) == pytest.approx(float(slope), rel=1e-4, abs=1e-6), place


@every
def test_one_volume_means_the_same_in_every_batch(made: Preprocessing) -> None:
    given = brain(4)
    whole = made(given)
    for place in range(4):
        torch.testing.assert_close(made(given[place : place + 1])[0], whole[place])
    torch.testing.assert_close(made(given.flip(0)).flip(0), whole)


@every
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_volumes_stay_finite_with_finite_gradients(
    made: Preprocessing, value: float
) -> None:
    given = torch.full((2, 2, 8, 8, 8), value).requires_grad_()
    answer = made(given)
    (gradient,) = torch.autograd.grad(answer.square().sum(), given)
    assert torch.isfinite(answer).all()
    assert torch.isfinite(gradient).all()
    assert float(answer.detach().abs().max()) < 25


@pytest.mark.parametrize("scale", ["zscore", "minmax"])
def test_rounding_is_not_taken_for_structure(scale: str) -> None:
    given = torch.full((1, 1, 8, 8, 8), 0.3)
    given[0, 0, 0, 0, 0] += 3e-8
    settings: dict[str, Any] = {"zscore": "all"} if scale == "zscore" else {"minmax": True}
    assert float(Preprocessing(**settings)(given).abs().max()) < 1e-6


def test_zeros_stay_zero_where_only_the_others_count() -> None:
    given = brain()
    made = Preprocessing(zscore="nonzero")(given)
    assert bool((made[given == 0] == 0).all())
    inside = made[0, 0][given[0, 0] != 0]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert torch.equal(
        Preprocessing(zscore="nonzero")(torch.zeros(1, 1, 4, 4, 4)).unique(), torch.zeros(1)
    )


def test_channels_are_repeated_for_the_network_too() -> None:
    made = Preprocessing(repeat_channels=3)
    given = volumes(2, 2)
    assert torch.equal(made(given), torch.cat([given] * 3, dim=1))
    key = ModelKey(name="tiny", factory="tests.samples:tiny", preprocessing=made.to_pairs())
    network = build_network(key, num_classes=2, in_channels=2)
    assert network(made(given)).shape == (2, 2)


def test_a_function_of_the_user_comes_last_and_must_return_volumes() -> None:
    def called(name: str) -> Preprocessing:
        return Preprocessing.checked({"callable": f"tests.networks.test_preprocessing:{name}"})

    given = volumes()
    torch.testing.assert_close(called("inverted")(given), 1 - given)
    with pytest.raises(CellError, match=r"fewer returned \(4, 1, 8, 8, 8\) for 5 volumes"):
        called("fewer")(given)
    with pytest.raises(CellError, match="no_tensor returned ndarray for 5 volumes"):
        called("no_tensor")(given)
    with pytest.raises(BenchError, match=r"names 'tests\.networks\.\w+:A_NUMBER', which"):
        called("A_NUMBER")
    with pytest.raises(BenchError, match="unknown attribute of module"):
        called("absent")
    with pytest.raises(BenchError, match="is not an import string"):
        Preprocessing.checked({"callable": "inverted"})


@every
def test_pairs_rebuild_it(made: Preprocessing) -> None:
    assert Preprocessing.from_pairs(made.to_pairs()) == made
    assert Preprocessing.checked(dict(made.to_pairs())) == made
    assert "repeat_channels" not in dict(made.to_pairs()) or made.repeat_channels != 1


def test_whole_numbers_and_floats_are_one_identity() -> None:
    one = Preprocessing.checked({"std": 2, "scale": 1, "mean": 0})
    assert str(one.to_pairs()) == "(('std', 2.0),)"
    assert Preprocessing.checked({"std": (2,), "mean": (0,)}).to_pairs() == one.to_pairs()
    assert Preprocessing.checked({"clip": (0, 1), "minmax": False}).to_pairs() == (
        ("clip", (0.0, 1.0)),
    )


WRONG: list[tuple[str, object, str]] = [
    ("size", 28, "size = [28, 28, 28]"),
    ("size", (28, 28), "size = [28, 28, 28]"),
    ("size", (28, 28, 0), "size = [28, 28, 28]"),
    ("size", (28, 28, 28.0), "size = [28, 28, 28]"),
    ("size", (True, 28, 28), "size = [28, 28, 28]"),
    ("resize", "nearest", 'resize = "trilinear" or "area"'),
    ("clip", 0.5, "clip = [0.1, 0.9], the smaller first"),
    ("clip", (0.9, 0.1), "clip = [0.1, 0.9], the smaller first"),
    ("clip", (0.1, 0.1), "clip = [0.1, 0.9], the smaller first"),
    ("clip", (0.1, math.inf), "clip = [0.1, 0.9], the smaller first"),
    ("percentiles", (0.5, 100.5), "percentiles = [0.5, 99.5], from 0 to 100"),
    ("percentiles", (-1, 99), "percentiles = [0.5, 99.5], from 0 to 100"),
    ("percentiles", 99, "percentiles = [0.5, 99.5], from 0 to 100"),
    ("minmax", 1, "minmax = true"),
    ("minmax", "yes", "minmax = true"),
    ("zscore", True, 'zscore = "all" or "nonzero"'),
    ("zscore", "non-zero", 'zscore = "all" or "nonzero"'),
    ("per", "batch", 'per = "channel" or "volume"'),
    ("scale", "0.5", "a number for scale"),
    ("scale", True, "a number for scale"),
    ("scale", (0.5, 0.5), "a number for scale"),
    ("repeat_channels", 0, "repeat_channels = 3"),
    ("repeat_channels", 3.0, "repeat_channels = 3"),
    ("repeat_channels", True, "repeat_channels = 3"),
    ("mean", None, "a number for mean, or one a channel: mean = [0.48, 0.46, 0.41]"),
    ("mean", math.nan, "a number for mean, or one a channel: mean = [0.48, 0.46, 0.41]"),
    ("mean", (0.1, "0.2"), "a number for mean, or one a channel: mean = [0.48, 0.46, 0.41]"),
    ("mean", (), "a number for mean, or one a channel: mean = [0.48, 0.46, 0.41]"),
    ("std", 0, "a number for std, or one a channel, none of them 0"),
    ("std", (1.0, 0.0), "a number for std, or one a channel, none of them 0"),
    ("std", math.inf, "a number for std, or one a channel, none of them 0"),
    ("callable", 3, 'callable = "my_package.nets:normalise"'),
]


@pytest.mark.parametrize(("name", "value", "hint"), WRONG)
def test_a_setting_of_the_wrong_kind(name: str, value: object, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        Preprocessing.checked({name: value})
    assert str(caught.value) == f"preprocessing {name!r} cannot be {value!r}. Write {hint}."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "area"}, "preprocessing 'resize' does nothing without size. Add one of"),
        ({"per": "volume", "scale": 2}, "'per' does nothing without percentiles or minmax or zsc"),
    ],
)
def test_a_setting_without_effect(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Preprocessing.checked(settings)


def test_an_unknown_setting() -> None:
    with pytest.raises(BenchError, match=r"unknown preprocessing 'scal'. Did you mean 'scale'"):
        Preprocessing.checked({"scal": 1.0})


def test_one_number_a_channel_needs_as_many_channels() -> None:
    rgb = Preprocessing(mean=(0.5, 0.4, 0.3), std=0.2)
    with pytest.raises(
        BenchError, match=r"'mean' has 3 numbers, and the network sees 1 channels of d"
    ):
        rgb.check_channels(1, "data")
    rgb.check_channels(3, "data")
    Preprocessing(std=(0.5, 0.4, 0.3), repeat_channels=3).check_channels(1, "data")
