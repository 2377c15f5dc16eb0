"""Which cells of results/medmnist3d are missing, and what they would cost on this machine.

The cost is extrapolated from what the measured cells took, in passes of a volume: of the same
network under the same perturbation, else of the same network, else of any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.run.engines.schedule import Place, Training
from benchharness.run.planning import plan
from benchharness.run.remaining import Remaining
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.schedule import Step
    from benchharness.run.planning import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage lacks."""

    name: str
    cells: int
    """Of the stage, those of earlier stages left out."""
    missing: int
    trainings: int
    seconds: float | None
    """What they take on one worker; None where nothing was measured to tell."""


def missing(configs: Iterable[tuple[str, RunConfig]]) -> Iterator[Stage]:
    """What every stage lacks, and its cost; a cell or training counts in its first stage."""
    seen: set[Any] = set()
    for name, config in configs:
        planned = plan(config)
        yield _stage(name, planned, Store(config.out), seen)


def _stage(name: str, planned: Plan, store: Store, seen: set[Any]) -> Stage:
    took = {
        identity: float(record.provenance["seconds"])
        for identity, record in store.records().items()
        if record.predictions is not None and "seconds" in record.provenance
    }
    trainings = {
        weights.path: (weights, job.dataset)
        for job in planned.jobs
        for weights in job.weights.trainings()
    }
    remaining = Remaining(planned, 1, trainings)
    places = {
        Place(job=j, cell=c): cell.identity
        for j, job in enumerate(planned.jobs)
        for c, cell in enumerate(job.cells)
    }
    recorded = set(store.recorded().sound)
    new = {step: identity for step, identity in places.items() if identity not in seen}
    lacking: list[Step] = [step for step, identity in new.items() if identity not in recorded]
    untrained = [path for path in trainings if path not in seen]
    for step, identity in places.items():
        if identity in took:
            remaining.done(step, took[identity])
    remaining.expect(*lacking, *(Training(key=path) for path in untrained))
    seen |= {*new.values(), *untrained}
    seconds = remaining.seconds(())
    return Stage(
        name=name,
        cells=len(new),
        missing=len(lacking),
        trainings=len(untrained),
        seconds=seconds,
    )


def table(stages: Iterable[Stage]) -> str:
    """The stages as Markdown."""
    lines = ["| stage | cells | missing | trainings missing | hours |", "| --- | --- | --- | --- | --- |"]
    found = list(stages)
    for one in found:
        hours = "unknown" if one.seconds is None else f"{one.seconds / 3600:.1f}"
        lines.append(
            f"| {one.name} | {one.cells} | {one.missing} | {one.trainings} | {hours} |"
        )
    lacking = sum(one.missing for one in found)
    lines += ["", f"{lacking} of {sum(one.cells for one in found)} cells are missing." if lacking else "No cell is missing."]
    return "\n".join(lines)

