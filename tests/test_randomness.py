"""Generators come from names; global state stays as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from benchharness import randomness


def states() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_seeds_never_move() -> None:
    """A change here changes every attack and artefact ever recorded."""
    assert randomness.seed_of() == GOLDEN[0]
    assert randomness.seed_of("sample/test/0", "pgd", 8 / 255, 0) == GOLDEN[1]
    assert randomness.torch_generator("a", 1).initial_seed() == GOLDEN[2]


GOLDEN = (2858069222894195974, 48123883307807492, 697930202312019326)


def test_draws_never_move() -> None:
    assert randomness.numpy_generator("a", 1).integers(2**31, size=3).tolist() == DRAWN
    drawn = torch.randint(2**31, (3,), generator=randomness.torch_generator("a", 1))
    assert drawn.tolist() == DRAWN_BY_TORCH


DRAWN = [338150204, 1027285700, 896116823]
DRAWN_BY_TORCH = [2010972738, 1860273872, 344910169]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("b", "a")),
        (("ab",), ("a", "b")),
        (("a",), ("a", "")),
        ((1,), ("1",)),
        ((0,), (None,)),
        ((0.1,), (0.2,)),
    ],
)
def test_other_names_give_other_seeds(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert randomness.seed_of(*one) != randomness.seed_of(*other)


def test_seeds_fit_every_generator_and_do_not_collide() -> None:
    seeds = {randomness.seed_of("volume", index) for index in range(2000)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        randomness.seed_of(float("nan"))


def test_generators_leave_the_global_ones_alone() -> None:
    before = states()
    randomness.torch_generator("a").seed()
    torch.rand(3, generator=randomness.torch_generator("a"))
    randomness.numpy_generator("a").normal(size=3)
    assert states() == before


def test_isolated_draws_depend_on_the_names_alone_and_leave_no_trace() -> None:
    before = states()
    with randomness.isolated("a"):
        first = draws()
    assert states() == before
    draws()
    with randomness.isolated("a"):
        assert draws() == first
    with randomness.isolated("b"):
        assert draws() != first


def test_isolated_restores_after_an_error() -> None:
    before = states()
    with pytest.raises(RuntimeError, match="inside"), randomness.isolated("a"):  # noqa: PT012
        draws()
        raise RuntimeError("inside")
    assert states() == before


def test_isolated_restores_what_reseeding_inside_changed() -> None:
    before = states()
    with randomness.isolated("a"), randomness.isolated("b"):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
    assert states() == before
