"""What people type for size, spacing and window."""

import pytest

from benchharness.datasets.preparation import Preparation, Window, parse_size, parse_spacing
from benchharness.errors import BenchError


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("28", (28, 28, 28)),
        (28, (28, 28, 28)),
        ("16, 64,64", (16, 64, 64)),
        ([1, 28, 28], (1, 28, 28)),
    ],
)
def test_a_size_is_one_side_or_three(typed, found):
    assert parse_size(typed) == found


@pytest.mark.parametrize(
    "typed", ["", "0", "-3", "2.5", "28,28", "nan", "inf", "2000", "large", True, [28, "x", 1], {}]
)
def test_another_size_is_refused(typed):
    with pytest.raises(BenchError, match=r"^--size .* Type one side, such as 28"):
        parse_size(typed)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("fit", None),
        ("1.5", (1.5, 1.5, 1.5)),
        (2, (2, 2, 2)),
        ("3,1,1", (3, 1, 1)),
        ([3, 1.0, 1], (3, 1, 1)),
    ],
)
def test_a_spacing_is_fit_one_step_or_three(typed, found):
    assert parse_spacing(typed) == found


@pytest.mark.parametrize("typed", ["", "0", "-1", "1,1", "auto", "inf", "1,1,nan", False, None])
def test_another_spacing_is_refused(typed):
    with pytest.raises(BenchError, match=r"^--spacing .* Type fit, one number in mm"):
        parse_spacing(typed)


@pytest.mark.parametrize(
    ("typed", "kind", "low", "high"),
    [
        ("percentiles:0.5,99.5", "percentiles", 0.5, 99.5),
        ("percentiles:0,100", "percentiles", 0, 100),
        ("ct:40,400", "ct", -160, 240),
        ("ct:-600,1500", "ct", -1350, 150),
    ],
)
def test_a_window_is_percentiles_or_level_and_width(typed, kind, low, high):
    window = Window.parse(typed)
    assert (window.kind, window.low, window.high) == (kind, low, high)
    assert str(window) == typed


@pytest.mark.parametrize(
    "typed",
    [
        "ct",
        "ct:40",
        "ct:40,0",
        "ct:40,-3",
        "ct:40,400,1",
        "ct:a,b",
        "mri:1,2",
        "percentiles:99,1",
        "percentiles:-1,99",
        "percentiles:1,101",
        "percentiles:5,5",
        3,
        None,
    ],
)
def test_another_window_is_refused(typed):
    with pytest.raises(BenchError, match=r"^--window .* Type percentiles:0.5,99.5 or ct:LEVEL"):
        Window.parse(typed)


def test_the_digest_sees_every_option():
    one = Preparation().resolved((1, 1, 1))
    assert one != Preparation().resolved((1, 1, 2))
    assert one != Preparation(size=(28, 28, 29)).resolved((1, 1, 1))
    assert one != Preparation(window=Window.parse("percentiles:0.5,99")).resolved((1, 1, 1))
    assert one == Preparation().resolved((1, 1, 1))
