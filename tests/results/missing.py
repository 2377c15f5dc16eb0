"""Which cells of results/medmnist3d are missing, and what they would cost on the machine before.

The cost is extrapolated from what the measured cells took, in passes of a volume: of the same
network under the same perturbation, else of the same network, else of any.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage lacks."""

    name: str
    cells: int = 0
    """Of the stage, without those of stages before it."""
    missing: int = 0
    trainings: int = 0
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
    records, recorded = store.records(), set(store.recorded().sound)
    trainings = {
        weights.path: (weights, job.dataset)
        for job in planned.jobs
        for weights in job.weights.trainings()
    }
    places = {
        Place(job=j, cell=c): cell.identity
        for j, job in enumerate(planned.jobs)
        for c, cell in enumerate(job.cells)
    }
    new = {step: identity for step, identity in places.items() if identity not in seen}
    lacking = [step for step, identity in new.items() if identity not in recorded]
    untrained = [path for path in trainings if path not in seen]
    remaining = Remaining(planned, 1, trainings)
    for step, identity in places.items():
        if identity in recorded:
            remaining.done(step, float(records[identity].provenance["seconds"]))
    remaining.expect(*lacking, *(Training(key=path) for path in untrained))
    seen |= {*new.values(), *untrained}
    return Stage(
        name=name,
        cells=len(new),
        missing=len(lacking),
        trainings=len(untrained),
        seconds=remaining.seconds(()),
    )


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
