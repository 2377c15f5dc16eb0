"""A config's plan, cut to the share that it asks for.

Shares depend on the config alone: not on what is recorded or trained already, so that a share which
resumes has the same cells, and not on the machine. Their costs are counted, never timed.

`bench train` divides trainings. `bench run` leaves every cell with the share that trains its
network, since no other has that checkpoint; transfers tie two networks, and so their trainings,
together. With `--no-train` all checkpoints exist, and single cells are divided. With
`--accuracy-only` a network's clean cell and its attacks stay together, as each rests on others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchharness.run.estimate import COST_PASSES, flops_of_pass, passes_of, training_passes
from benchharness.run.planning import plan
from benchharness.run.shards import deal
from benchharness.store import outlines
from benchharness.store.cells import ACCURACY_ONLY, CLEAN, describe, describe_seed
from benchharness.store.outlines import Outline

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Job, Plan
    from benchharness.run.shards import Shard
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell

_CORRUPTION = 15_000
"""Operations that take as long as corrupting one voxel.

On one thread of an AMD EPYC an artefact takes 29 ms for 28³ voxels, the mean of all; `medvit3d_t`
and `resnet3d_18` do 11 GFLOP/s there.
"""
_UNEVEN = 1.5
"""How far the largest share may exceed the mean before something is said."""
_ADVICE = (
    "these shares are uneven, since cells stay with the training of their network. Train first "
    "(bench train --shard K/{count}), join the checkpoints (bench records merge), and divide the "
    "cells alone: bench run --no-train --checkpoints-from FOLDER --shard K/{count}."
)

Work = dict["Hashable", tuple[str, str]]
"""What a plan holds, in its order: for each piece its key in an outline and its name for people."""


@dataclass(slots=True, kw_only=True)
class _Unit:
    """Pieces of work that stay together."""

    pieces: list[Hashable] = field(default_factory=list)
    cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """One share of some work, and what is said of all."""

    pieces: frozenset[Hashable]
    outline: Outline
    note: str
    uneven: bool
    """Whether the largest share exceeds the mean by far."""


def share_of_cells(config: RunConfig) -> Plan:
    """What `bench run` does: a config's plan, or its share of the cells.

    Raises:
        BenchError: As `planning.plan`.
    """
    planned = plan(config)
    return planned if config.shard is None else cut_cells(planned, config.shard, bound=config.train)


def share_of_trainings(config: RunConfig) -> Plan:
    """What `bench train` does: a config's plan, or the jobs of its share of the trainings.

    Raises:
        BenchError: As `planning.plan`.
    """
    planned = plan(config)
    return planned if config.shard is None else cut_trainings(planned, config.shard)


def cut_cells(planned: Plan, shard: Shard, *, bound: bool) -> Plan:
    """A share of a plan's cells.

    Args:
        planned: The whole plan.
        shard: Which share.
        bound: Whether cells stay with the training of their network.
    """
    work: Work = {
        (j, c): (outlines.key_of(cell), describe(cell))
        for j, job in enumerate(planned.jobs)
        for c, cell in enumerate(job.cells)
    }
    whole, loose = _units(planned, bound=bound)
    cut = _cut(shard, "cells", work, whole, loose)
    jobs = [
        replace(job, cells=tuple(cell for c, cell in enumerate(job.cells) if (j, c) in cut.pieces))
        for j, job in enumerate(planned.jobs)
    ]
    advice = [_ADVICE.format(count=shard.count)] if whole and cut.uneven else []
    return replace(
        planned,
        jobs=tuple(job for job in jobs if job.cells),
        notes=(*planned.notes, cut.note, *advice),
        outline=cut.outline,
    )


def cut_trainings(planned: Plan, shard: Shard) -> Plan:
    """The jobs of a share of a plan's trainings, one for each."""
    jobs: dict[Hashable, Job] = {}
    work: Work = {}
    costs, groups = _Costs(planned), _Groups()
    pieces: dict[str, int] = {}
    for job in planned.jobs:
        if job.weights.recipe is None:
            continue
        jobs.setdefault(_key_of(job.weights), job)
        for weights in job.weights.lineage():
            key = _key_of(weights)
            groups.join(key, _key_of(job.weights))
            pieces.setdefault(key, costs.of_training(weights, job))
            work.setdefault(key, (key, _describe_training(weights, job)))
    units: dict[str, _Unit] = {}
    for key, cost in pieces.items():
        unit = units.setdefault(groups.find(key), _Unit())
        unit.pieces.append(key)
        unit.cost += cost
    cut = _cut(shard, "trainings", work, list(units.values()), [])
    return replace(
        planned,
        jobs=tuple(replace(job, source=None) for key, job in jobs.items() if key in cut.pieces),
        notes=(*planned.notes, cut.note),
        outline=cut.outline,
    )


def _cut(
    shard: Shard, what: str, work: Work, whole: Sequence[_Unit], loose: Sequence[_Unit]
) -> _Cut:
    """Deal units to all shares and keep those of one."""
    dealt = deal([unit.cost for unit in whole], [unit.cost for unit in loose], shard.count)
    shares = list(zip((*whole, *loose), (*dealt[0], *dealt[1]), strict=True))
    owner = {piece: share + 1 for unit, share in shares for piece in unit.pieces}
    pieces = frozenset(piece for piece, share in owner.items() if share == shard.number)
    loads = [0] * shard.count
    for unit, share in shares:
        loads[share] += unit.cost
    total = max(1, sum(loads))
    return _Cut(
        pieces=pieces,
        outline=Outline(
            count=shard.count,
            work=tuple((key, owner[piece], name) for piece, (key, name) in work.items()),
        ),
        note=(
            f"share {shard}: {len(pieces)} of {len(work)} {what}, "
            f"{loads[shard.number - 1] / total:.1%} of their expected cost"
        ),
        uneven=max(loads) * shard.count > _UNEVEN * total,
    )


def _describe_training(weights: Weights, job: Job) -> str:
    assert weights.recipe is not None
    model, data = weights.model.name, weights.on(job.dataset)[0]
    return f"training {model} · {data} · {weights.recipe.name} · {describe_seed(weights.seed)}"


def _key_of(weights: Weights) -> str:
    return outlines.key_of_training(weights.path.parent)


def _units(planned: Plan, *, bound: bool) -> tuple[list[_Unit], list[_Unit]]:
    """The units of a plan's cells: those with trainings, if these bind them, and all others."""
    costs, groups = _Costs(planned), _Groups()
    whole: dict[Hashable, _Unit] = {}
    loose: dict[Hashable, _Unit] = {}
    trained: dict[str, int] = {}
    for job in planned.jobs:
        for weights in _trained(job) if bound else ():
            groups.join(_key_of(weights), _key_of(_trained(job)[0]))
        if bound and job.weights.recipe is not None:
            for weights in job.weights.lineage():
                trained.setdefault(_key_of(weights), costs.of_training(weights, job))
    for j, job in enumerate(planned.jobs):
        found = _trained(job) if bound else []
        resting = any(_rests(cell) for cell in job.cells)
        for c, cell in enumerate(job.cells):
            if found:
                unit = whole.setdefault(groups.find(_key_of(found[0])), _Unit())
            elif resting and (_rests(cell) or cell.perturbation == CLEAN):
                unit = loose.setdefault(j, _Unit())
            else:
                unit = loose.setdefault((j, c), _Unit())
            unit.pieces.append((j, c))
            unit.cost += costs.of_cell(cell, job)
    for key, cost in trained.items():
        whole[groups.find(key)].cost += cost
    return list(whole.values()), list(loose.values())


def _trained(job: Job) -> list[Weights]:
    """Weights of a job that a recipe trains, or has trained."""
    both = (job.weights, job.source)
    return [
        weights
        for one in both
        if one is not None and one.recipe is not None
        for weights in one.lineage()
    ]


def _rests(cell: Cell) -> bool:
    """Whether a cell is measured from the predictions of others."""
    return ACCURACY_ONLY in dict(cell.perturbation.parameters)


class _Groups:
    """Names that belong together."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The name that stands for a group."""
        while (parent := self._parents.setdefault(name, name)) != name:
            self._parents[name] = self._parents[parent]
            name = parent
        return name

    def join(self, one: str, other: str) -> None:
        """Make one group of two."""
        self._parents[self.find(one)] = self.find(other)


class _Costs:
    """Expected costs in operations, as whole numbers.

    A network whose operations cannot be counted is taken for the mean of the others.
    """

    def __init__(self, planned: Plan) -> None:
        self._plan = planned
        self._passes: dict[Hashable, int] = {}
        self._flops: dict[Hashable, int | None] = {}
        for job in planned.jobs:
            key = self._key(job)
            if key not in self._flops:
                self._flops[key] = flops_of_pass(job)
        known = [flops for flops in self._flops.values() if flops]
        self._usual = sum(known) // len(known) if known else 1

    def of_cell(self, cell: Cell, job: Job) -> int:
        """Of everything that a cell takes; at least one pass of a volume."""
        count, kind = self._passes_of(cell, job), cell.perturbation.kind
        corrupted = job.split.volumes.size if kind == "artefact" else 0
        return max(1, count) * self._of_pass(job) + _CORRUPTION * corrupted

    def _passes_of(self, cell: Cell, job: Job) -> int:
        """Passes of a volume; those of an attack are its own at every budget."""
        perturbation = cell.perturbation
        key = (perturbation.kind, perturbation.name, cell.dataset)
        if key not in self._passes:
            passes = passes_of(cell, job, self._plan)
            extra = COST_PASSES if perturbation.kind == "none" else 0
            self._passes[key] = passes.forward + passes.backward + extra
        return self._passes[key]

    def of_training(self, weights: Weights, job: Job) -> int:
        """Of a training for a job."""
        return training_passes(weights, job.dataset) * self._of_pass(job)

    def _of_pass(self, job: Job) -> int:
        return self._flops[self._key(job)] or self._usual

    @staticmethod
    def _key(job: Job) -> Hashable:
        model = (job.source or job.weights).model
        return model, job.dataset.num_classes, job.split.volumes.shape[1:]
