"""Draws belong to volumes, whatever asks for them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.overrides import has_torch_function

from benchharness.attacks.core.draws import Draws, network_draws, undisturbed
from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

IDS = ["a", "b", "c"]
LIKE = torch.zeros(3, 1, 2, 2, 2)

CALLS: dict[str, Callable[[int], Tensor]] = {
    "uniform_": lambda n: torch.empty(n, 4).uniform_(-2, 3),
    "normal_": lambda n: torch.empty(n, 4).normal_(1, 2),
    "rand": lambda n: torch.rand(n, 4),
    "rand, a shape": lambda n: torch.rand((n, 4)),
    "rand, torch.Size": lambda n: torch.rand(torch.zeros(n, 4).shape),
    "randn": lambda n: torch.randn(n, 4, dtype=torch.float64),
    "rand_like": lambda n: torch.rand_like(torch.zeros(n, 4)),
    "randn_like": lambda n: torch.randn_like(torch.zeros(n, 4)),
    "randint": lambda n: torch.randint(7, (n, 4)),
    "randint, a range": lambda n: torch.randint(3, 9, (n, 4)),
    "randint, by name": lambda n: torch.randint(low=3, high=9, size=(n, 4)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_intercepted_draws_follow_the_names(call: Callable[[int], Tensor]) -> None:
    before = torch.get_rng_state()
    with Draws(IDS, "attack", 1).intercepted():
        first, second = call(3), call(3)
    with Draws(["c", "a"], "attack", 1).intercepted():
        part = call(2)
        assert torch.equal(part, first[[2, 0]])
        assert torch.equal(call(2), second[[2, 0]])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    with Draws(IDS, "attack", 2).intercepted():
        assert not torch.equal(call(3), first)
    assert call(3).dtype == first.dtype


def test_distributions() -> None:
    draws = Draws([str(number) for number in range(50)], "attack")
    with draws.intercepted():
        uniform = torch.empty(50, 400).uniform_(-2, 3)
        normal = torch.randn(50, 400)
        integers = torch.randint(3, 9, (50, 400))
    assert uniform.min() >= -2
    assert uniform.max() <= 3
    assert uniform.mean() == pytest.approx(0.5, abs=0.05)
    assert normal.mean() == pytest.approx(0, abs=0.03)
    assert normal.std() == pytest.approx(1, abs=0.03)
    assert integers.unique().tolist() == [3, 4, 5, 6, 7, 8]
    signs = draws.signs(torch.empty(50, 400))
    assert signs.unique().tolist() == [-1, 1]
    assert signs.mean() == pytest.approx(0, abs=0.03)


def test_in_place_draws_are_in_place() -> None:
    values = torch.zeros(3, 4)
    with Draws(IDS, "attack").intercepted():
        assert values.uniform_(1, 2) is values
    assert values.min() >= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: torch.rand(4, 3), r"calls rand for shape \(4, 3\) in a batch of 3"),
        (lambda: torch.rand([]), r"calls rand for shape \(\) in a batch of 3"),
        (lambda: torch.randperm(3), "calls randperm, whose draws would depend on batch and order"),
        (lambda: torch.bernoulli(torch.full((3,), 0.5)), "calls bernoulli"),
        (lambda: torch.normal(torch.zeros(3), 1.0), "calls normal"),
        (lambda: torch.nn.functional.dropout(torch.ones(3, 3)), "calls dropout"),
        (lambda: np.random.rand(), "global generator of NumPy or Python"),  # noqa: NPY002
        (lambda: random.random(), "global generator of NumPy or Python"),
    ],
)
def test_what_cannot_belong_to_a_volume_raises(call: Callable[[], object], message: str) -> None:
    with pytest.raises(CellError, match=message), Draws(IDS, "attack").intercepted():
        call()


def test_explicit_generators_pass() -> None:
    with Draws(IDS, "attack").intercepted():
        own = torch.Generator().manual_seed(1)
        assert torch.rand(7, generator=own).shape == (7,)


def shuffled(volumes: Tensor) -> Tensor:
    """A network that draws what an attack may not."""
    assert not has_torch_function((volumes,)), "somebody still listens"
    return volumes + torch.randperm(5).sum()


def test_a_network_draws_for_itself_whoever_calls_it() -> None:
    with torch.random.fork_rng():
        assert undisturbed(shuffled, LIKE).shape == LIKE.shape
        # The attack's own context lies above the interception, and a part's below a cascade's.
        with Draws(IDS, "outer").intercepted(), torch.device("cpu"), Draws(IDS, "a").intercepted():
            found = undisturbed(lambda volumes: undisturbed(shuffled, volumes), LIKE)
            assert found.shape == LIKE.shape
            with pytest.raises(CellError, match="calls randperm"):
                torch.randperm(5)


def test_interceptions_nest() -> None:
    outer, inner = Draws(IDS, "outer"), Draws(["c"], "inner")
    with Draws(["c"], "inner").intercepted():
        expected = torch.rand(1, 4)
    with outer.intercepted(), inner.intercepted():
        assert torch.equal(torch.rand(1, 4), expected)


def test_restarts_and_selections() -> None:
    draws = Draws(IDS, "attack")
    first = draws.normal(LIKE)
    assert not torch.equal(draws.normal(LIKE), first)
    draws.restart(1)
    assert not torch.equal(draws.normal(LIKE), first)
    draws.restart(0)
    some = draws.select([2, 0])
    assert torch.equal(some.normal(LIKE[:2]), first[[2, 0]])
    # What the selection drew is spent, and what it left out is not.
    rest = draws.normal(LIKE)
    assert torch.equal(rest[1], first[1])
    assert not torch.equal(rest[0], first[0])


def test_network_draws() -> None:
    assert not network_draws(lambda: torch.zeros(3))
    with torch.random.fork_rng():
        assert network_draws(lambda: torch.rand(3))
    assert network_draws(lambda: np.random.rand())  # noqa: NPY002
