"""Which cells of results/medmnist3d are missing, and what they would cost on the machine before.

The cost is extrapolated from what the measured cells took, in passes of a volume: of the same
network under the same perturbation, else of the same network, else of any.

A cell is there once it was measured, whatever weights its recipe and training seed gave: records
come without weights, and those made again may differ in their last bits on another machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.run.engines.schedule import Place, Training
from benchharness.run.planning import plan
from benchharness.run.remaining import Remaining
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Plan
    from benchharness.store.cells import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage lacks."""

    name: str
    cells: int = 0
    """Of the stage, without those of stages before it."""
    missing: int = 0
    trainings: int = 0
    """Whose weights are not on this machine, and which a missing cell needs."""
    seconds: float | None = None
    """What the missing ones take on one worker; None where nothing measured can tell."""
    why: str = ""
    """Why it cannot be planned here; empty where it can."""


def missing(configs: Iterable[tuple[str, RunConfig]]) -> Iterator[Stage]:
    """What every stage lacks, and its cost; a cell or training counts in its first stage."""
    seen: set[Any] = set()
    for name, config in configs:
        try:
            planned = plan(config)
        except BenchError as error:  # such as a dataset that is not on this machine
            yield Stage(name=name, why=str(error))
            continue
        yield _stage(name, planned, Store(config.out), seen)


def _stage(name: str, planned: Plan, store: Store, seen: set[Any]) -> Stage:
    records = store.records()
    measured = {
        _whatever_weights(records[identity].cell): float(records[identity].provenance["seconds"])
        for identity in store.recorded().sound
    }
    cells = {
        Place(job=j, cell=c): _whatever_weights(one)
        for j, job in enumerate(planned.jobs)
        for c, one in enumerate(job.cells)
    }
    new = {place: cell for place, cell in cells.items() if cell not in seen}
    lacking = [place for place, cell in new.items() if cell not in measured]
    trainings = {
        weights.path: (weights, planned.jobs[number].dataset)
        for number in {place.job for place in lacking}
        for weights in planned.jobs[number].weights.trainings()
    }
    untrained = [path for path in trainings if path not in seen]
    remaining = Remaining(planned, 1, trainings)
    for place, cell in cells.items():
        if cell in measured:
            remaining.done(place, measured[cell])
    remaining.expect(*lacking, *(Training(key=path) for path in untrained))
    seen |= {*new.values(), *untrained}
    return Stage(
        name=name,
        cells=len(new),
        missing=len(lacking),
        trainings=len(untrained),
        seconds=remaining.seconds(()),
    )


def _whatever_weights(cell: Cell) -> str:
    """Names a cell, the same for all weights that one recipe and training seed gave."""
    return replace(cell, checkpoint=replace(cell.checkpoint, sha256=None)).identity


def table(stages: Iterable[Stage]) -> str:
    """The stages as Markdown, and what all of them lack."""
    found = list(stages)
    lines = [
        "| stage | cells | missing | trainings missing | hours on one worker |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in found:
        hours = "unknown" if one.seconds is None else f"{one.seconds / 3600:.2f}"
        counts = (one.cells, one.missing, one.trainings, hours)
        said = ("–", "–", "–", f"cannot be planned: {one.why}") if one.why else counts
        lines.append(f"| {' | '.join(map(str, (one.name, *said)))} |")
    lacking, cells = sum(one.missing for one in found), sum(one.cells for one in found)
    return "\n".join([*lines, "", f"{lacking} of {cells} cells are missing."])
