"""Unknown names: the nearest first, then all."""

from __future__ import annotations

import pytest

from benchharness.errors import BenchError, unknown_name

KNOWN = ["resnet3d_18", "resnet3d_34", "medvit3d_t"]


def test_the_nearest_come_first_and_then_all() -> None:
    error = unknown_name("model", "resnet3d_81", KNOWN, hint="Type another.")
    assert isinstance(error, BenchError)
    assert str(error) == (
        "unknown model 'resnet3d_81'. Did you mean 'resnet3d_18' or 'resnet3d_34'? "
        "Known: medvit3d_t, resnet3d_18, resnet3d_34. Type another."
    )


def test_nothing_near_is_not_guessed() -> None:
    assert str(unknown_name("attack", "zzz", ["pgd"])) == "unknown attack 'zzz'. Known: pgd."


def test_nothing_known_says_so() -> None:
    assert str(unknown_name("attack", "pgd", [])) == "unknown attack 'pgd'. Known: none."


@pytest.mark.parametrize("name", ["", "a\nb", "ä" * 10_000])
def test_the_message_is_one_line(name: str) -> None:
    assert "\n" not in str(unknown_name("model", name, KNOWN))
