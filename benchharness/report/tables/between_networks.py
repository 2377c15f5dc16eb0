"""Which of two networks carries over better: both from the same source, by the same steps."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from benchharness.report.scoring.carried import differing
from benchharness.report.tables.gains import Pair, gains

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand
    from benchharness.report.tables.layout import Table


def tables(findings: Findings, target: str, stands: Sequence[Stand]) -> Iterator[Table]:
    """A table for each pair of networks that share a way to the target.

    Args:
        findings: Of the store.
        target: The dataset that is judged.
        stands: Of every model on it.
    """
    ways: dict[tuple[str, str, str, str], dict[str, Stand]] = {}
    for one in stands:
        shots = "" if one.carried is None else str(one.shots or "")
        ways.setdefault((*one.way, shots), {})[one.name] = one
    for base, new in combinations(dict.fromkeys(one.name for one in stands), 2):
        yield from gains(
            findings,
            f"{new} against {base} on {target}",
            ("Weights from", "Source's recipe", "Chosen on", "Shots"),
            [
                Pair(names=way, new=own[new].subject, base=own[base].subject)
                for way, own in ways.items()
                if base in own and new in own
            ],
            kind="sources",
            said=differing(stands),
        )
