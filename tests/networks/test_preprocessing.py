"""Resizing, scaling and normalising, as configured and as part of an identity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchharness.errors import BenchError
from benchharness.networks.preprocessing import Preprocessing


def volumes(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


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


def test_gradients_flow_through_it() -> None:
    given = volumes().requires_grad_()
    Preprocessing(size=(4, 4, 4), scale=0.5, std=0.1)(given).sum().backward()
    assert given.grad is not None
    assert float(given.grad.abs().min()) > 0


@pytest.mark.parametrize(
    "made", [Preprocessing(), Preprocessing(scale=0.5), Preprocessing(size=(1, 2, 3), std=2.0)]
)
def test_pairs_rebuild_it(made: Preprocessing) -> None:
    assert Preprocessing.from_pairs(made.to_pairs()) == made
    assert all(value != 1.0 for name, value in made.to_pairs() if name == "scale")


def test_whole_numbers_and_floats_are_one_identity() -> None:
    one = Preprocessing.checked({"std": 2, "scale": 1, "mean": 0})
    assert str(one.to_pairs()) == "(('std', 2.0),)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 28),
        ("size", (28, 28)),
        ("size", (28, 28, 0)),
        ("size", (28, 28, 28.0)),
        ("size", (True, 28, 28)),
        ("scale", "0.5"),
        ("scale", True),
        ("mean", None),
        ("mean", float("nan")),
        ("std", 0),
        ("std", float("inf")),
    ],
)
def test_a_setting_of_the_wrong_kind(name: str, value: object) -> None:
    with pytest.raises(BenchError) as caught:
        Preprocessing.checked({name: value})
    assert str(caught.value) == (
        f"preprocessing {name!r} cannot be {value!r}. Write size = [28, 28, 28], and a number for "
        "scale, mean and std (std not 0)."
    )


def test_an_unknown_setting() -> None:
    with pytest.raises(BenchError, match=r"unknown preprocessing 'scal'. Did you mean 'scale'"):
        Preprocessing.checked({"scal": 1.0})
