"""The tables of docs/masking.md: what each network of the zoo gets, and by which check.

python -m tests.masking.table [--members NAME,…] [--suites SUITE,…] [--registry STORE]
    [--out FILE] [--write]

Measures what `--out` (build/masking.jsonl) lacks, a line for each network and its suites, and
prints what breaks the rule. `--registry` adds the trained checkpoints of a store, from a copy.
`--write` puts the tables of everything in the file between the markers of the page.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tests.masking import registry
from tests.masking.judging import failed_checks, faults, is_false_alarm
from tests.masking.measure import SUITES, Measured, measure
from tests.masking.pages import render
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "masking.md"
START, END = "<!-- zoo -->", "<!-- end -->"
VOLUMES = 16
"""Of each dataset on which the registry is measured."""


def read(out: Path) -> dict[str, Measured]:
    """What was measured before."""
    if not out.is_file():
        return {}
    lines = out.read_text(encoding="utf-8").splitlines()
    found: dict[str, Measured] = {}
    for line in lines:
        _keep(found, Measured.from_json(json.loads(line)))
    return found


def _keep(found: dict[str, Measured], one: Measured) -> None:
    found[one.name] = found[one.name].joined(one) if one.name in found else one


def _missing(
    members: list[str], suites: list[str], store: Path | None, known: dict[str, Measured]
) -> Iterator[Measured]:
    def lacking(name: str) -> tuple[str, ...]:
        have = known[name].suites if name in known else ()
        return tuple(suite for suite in suites if suite not in have)

    for name in members:
        if wanted := lacking(name):
            yield measure(ZOO[name], suites=wanted)
    if store is None:
        return
    for checkpoint in registry.trained(store):
        if wanted := lacking(registry.name_of(checkpoint)):
            with tempfile.TemporaryDirectory() as folder:
                yield registry.measure(checkpoint, Path(folder), VOLUMES, wanted)


def main() -> None:
    """Measure, say what breaks the rule, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", default=",".join(ZOO))
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "masking.jsonl")
    parser.add_argument("--write", action="store_true")
    typed = parser.parse_args()
    torch.set_num_threads(1)
    typed.out.parent.mkdir(parents=True, exist_ok=True)
    found = read(typed.out)
    members = [name for name in typed.members.split(",") if name]
    suites = typed.suites.split(",")
    began = time.monotonic()
    for one in _missing(members, suites, typed.registry, found):
        with typed.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(one.to_json()) + "\n")
        _keep(found, one)
        print(f"{time.monotonic() - began:6.0f} s {_line(one)}", flush=True)  # noqa: T201
    for one in found.values():
        for fault in _faults(one):
            print(fault)  # noqa: T201
    if typed.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        order = {name: place for place, name in enumerate(ZOO)}
        tables = render(sorted(found.values(), key=lambda one: order.get(one.name, len(order))))
        PAGE.write_text(f"{before}{START}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


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
