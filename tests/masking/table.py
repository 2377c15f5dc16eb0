"""The tables of docs/masking.md: what each network of the zoo gets, and by which check.

python -m tests.masking.table [--members NAME,…] [--suites SUITE,…] [--registry STORE]
    [--stores FOLDER] [--write]

Prints what breaks the rule. Results are kept below `--stores` (build/masking): a run that was cut
short goes on there, and one after a change of a matrix check repeats no attack. `--registry` adds
the trained checkpoints of a store, from copies, with the first suite. `--write` puts the tables of
what was asked for, and of all else that was measured before, between the markers of the page.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tests.masking import registry
from tests.masking.judging import failed_checks, faults, is_false_alarm
from tests.masking.measure import SUITES, measure, results
from tests.masking.pages import render
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.masking.measure import Measured

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "masking.md"
START, END = "<!-- zoo -->", "<!-- end -->"
VOLUMES = 16
"""Of each dataset on which the registry is measured."""


def wanted(
    members: Sequence[str], suites: Sequence[str], store: Path | None, stores: Path
) -> Iterator[Measured]:
    """Measure every network that was asked for; of the others, what was measured before."""
    for name, member in ZOO.items():
        if chosen := suites if name in members else _begun(stores / name, suites):
            yield measure(member, suites=chosen, stores=stores)
    for checkpoint in () if store is None else registry.trained(store):
        yield registry.measure(checkpoint, stores, VOLUMES, tuple(SUITES)[:1])


def _begun(folder: Path, suites: Sequence[str]) -> tuple[str, ...]:
    return tuple(suite for suite in suites if results(folder, suite, copy=False).exists())


def main() -> None:
    """Measure, say what breaks the rule, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", default=",".join(ZOO))
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--stores", type=Path, default=ROOT / "build" / "masking")
    parser.add_argument("--write", action="store_true")
    typed = parser.parse_args()
    torch.set_num_threads(1)
    found, began = [], time.monotonic()
    members, suites = typed.members.split(","), typed.suites.split(",")
    for one in wanted(members, suites, typed.registry, typed.stores):
        found.append(one)
        print(f"{time.monotonic() - began:6.0f} s {_line(one)}", flush=True)  # noqa: T201
    for fault in (fault for one in found for fault in _faults(one)):
        print(fault)  # noqa: T201
    if typed.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n\n{render(found)}\n\n{END}{after}", encoding="utf-8")


def _faults(one: Measured) -> list[str]:
    if one.name in ZOO:
        return faults(one)
    return [
        f"{one.name}, {number.suite}, {number.condition}: {number.reasons}"
        for number in one.numbers
        if is_false_alarm(one, number)
    ]


def _line(one: Measured) -> str:
    numbers = " ".join(
        f"{n.condition} {'–' if n.accuracy is None else format(n.accuracy, '.3f')}"
        f"{'†' if n.reasons else ''}"
        for n in one.numbers
        if n.suite == one.suites[-1]
    )
    return f"{one.name}: {numbers}; {', '.join(failed_checks(one))}"


if __name__ == "__main__":
    main()
