"""Every member of the zoo by name; `bench run --models tests.masking.zoo:NAME` takes each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.masking.kinds import (
    company,
    cut,
    gradients,
    heads,
    honest,
    partial,
    random,
    shattered,
    waves,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from tests.masking.member import Member

ZOO: dict[str, Member] = {
    member.name: member
    for kind in (waves, gradients, heads, shattered, random, company, cut, partial, honest)
    for member in kind.MEMBERS
}


def __getattr__(name: str) -> Callable[..., nn.Module]:
    """The factory of a member."""
    if name in ZOO:
        return ZOO[name].build
    raise AttributeError(name)
