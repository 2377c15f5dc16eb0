"""Which of two networks carries over better: both from the same source, by the same steps."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

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
        ways.setdefault(_way(one), {})[one.name] = one
    for base, new in combinations(dict.fromkeys(one.name for one in stands), 2):
        compared = [
            Pair(names=(arm, shots, recipe), new=own[new].subject, base=own[base].subject)
            for (arm, shots, recipe, _), own in ways.items()
            if base in own and new in own
        ]
        if compared:
            yield gains(
                findings,
                f"{new} against {base} on {target}",
                ("Weights from", "Shots", "Recipe there"),
                compared,
                kind="sources",
            )


def _way(stand: Stand) -> tuple[str, str, str, str]:
    """What two stands must share to be compared: arm, shots, recipe and selection."""
    found = stand.carried
    if found is None:
        return (stand.arm, "", stand.recipe, "")
    return (stand.arm, str(found.shots or ""), stand.recipe, found.select)
