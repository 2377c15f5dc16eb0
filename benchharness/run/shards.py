"""Share K of N of some work: what is typed for it, and which units of work belong to it.

Pure arithmetic on whole numbers: the same costs give the same shares on every machine.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import accumulate
from typing import TYPE_CHECKING

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 100_000
"""Shares of one plan."""

_TYPED = re.compile(r"([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Share `number` of `count`."""

    number: int
    """From 1 to `count`."""
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, value: object) -> Shard:
        """Read `3/16`.

        Raises:
            BenchError: When it is no share, or a share that is not there.
        """
        found = _TYPED.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            shown = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]}…"
            raise BenchError(
                f"--shard takes K/N, such as 3/16 for the third of 16 shares, got {shown}."
            )
        number, count = map(int, found.groups())
        if not 1 <= count <= MOST:
            raise BenchError(
                f"--shard K/N divides by 1 to {MOST} shares, got {count}. Type 3/16 for the third "
                "of 16."
            )
        if not 1 <= number <= count:
            raise BenchError(
                f"--shard counts from 1: of {count} shares the first is 1/{count} and the last "
                f"{count}/{count}, got {number}/{count}."
            )
        return cls(number=number, count=count)

    def refuse(self, command: str, instead: str) -> BenchError:
        """The error of a command that has no use for a share."""
        return BenchError(f"{command} takes no shard, and the config has {self}. {instead}")


def deal(whole: Sequence[int], loose: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """Divide units of work among shares of nearly equal cost.

    Whole units come first, the most expensive ahead, each to the share that has least. Loose ones
    then fill the shares to one level W, in their order, so that neighbours stay together. A share
    costs no more than its whole units do alone, or than W and the largest loose unit; all whole
    units alone exceed their mean by no more than the largest of them (Graham 1969).

    Args:
        whole: Costs of units that are large and few, such as networks with their training.
        loose: Costs of units of which neighbours are best done together, such as cells.
        count: How many shares there are.

    Returns:
        The share of each whole and of each loose unit, from 0.
    """
    loads = [(0, share) for share in range(count)]
    heapify(loads)
    of_whole = [0] * len(whole)
    for index in sorted(range(len(whole)), key=lambda index: (-whole[index], index)):
        load, share = loads[0]
        of_whole[index] = share
        heapreplace(loads, (load + whole[index], share))
    by_share = [load for load, _ in sorted(loads, key=lambda item: item[1])]
    return of_whole, _fill(by_share, loose)


def _fill(loads: Sequence[int], costs: Sequence[int]) -> list[int]:
    """Fill shares that have something already to one level; the share of each unit."""
    if not costs:
        return []
    total, below, ascending = sum(costs), 0, sorted(loads)
    wet = 0
    """How many shares lie below the level."""
    while wet < len(ascending) and ascending[wet] * wet < total + below:
        below += ascending[wet]
        wet += 1
    # Times `wet`, so that the level total/wet is a whole number; times two for middles of units.
    level = 2 * (total + below)
    room = [max(0, level - 2 * wet * load) for load in loads]
    ends = list(accumulate(room))
    last = max(share for share, space in enumerate(room) if space)
    starts = accumulate(costs, initial=0)
    return [
        min(last, bisect_right(ends, wet * (2 * start + cost)))
        for start, cost in zip(starts, costs, strict=False)
    ]
